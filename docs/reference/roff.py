# SPDX-License-Identifier: MIT
"""Text and blocks as man(7) macros. What a reader would get wrong: a hyphen in a word stays one, a minus of a number, an
option or a command has to be \\-, or it cannot be found and pasted."""
import re
import textwrap

import prose


def escape(text, code=False):
    text = text.replace("\\", "\\e")
    text = text.replace("-", "\\-") if code else re.sub(r"(?<![\w)])-|-(?=-)", r"\\-", text)
    return text.replace("'", "\\(aq").replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti") if code else text


def argument(text):
    """A text as one argument of a macro."""
    return '"%s"' % text.replace('"', "\\(dq")


def bold(text):
    return "\\fB%s\\fP" % escape(text, True)


def italic(text):
    return "\\fI%s\\fP" % escape(text, True)


def inline(text, own=(), pages=()):
    """Names of libmoco in bold (those with a page of their own followed by its section), arguments in italics."""
    out = []
    for kind, piece in prose.spans(text):
        if kind == "text":
            out.append(escape(piece))
        elif kind in ("code", "em"):
            out.append(italic(piece))
        elif kind == "name" and piece in pages and piece not in own:
            out.append(bold(piece) + "(3)")
        else:
            out.append(bold(piece))
    return "".join(out)


def fill(text):
    """Source lines of a paragraph: none begins with a control character, none is longer than 80."""
    lines = textwrap.wrap(text, 78, break_long_words=False, break_on_hyphens=False)
    return ["\\&" + line if line[0] in ".'" else line for line in lines]


def verbatim(lines):
    out = [".PP", ".RS 4", ".nf"]
    out += [("\\&" if line[:1] in (".", "'") else "") + escape(line, True) for line in lines]
    return out + [".fi", ".RE"]


def definitions(pairs, render=escape):
    out = []
    for term, text in pairs:
        out += [".TP", term] + (fill(render(text)) if text else ["\\&"])
    return out


def paragraphs(blocks, render=escape):
    """Blocks as source lines; the first paragraph of a section needs no .PP."""
    out = []
    for block in blocks:
        if block[0] == "p":
            out += ([".PP"] if out else []) + fill(render(block[1]))
        elif block[0] == "list":
            for item in block[1]:
                out += [".IP \\(bu 2"] + fill(render(item))
        elif block[0] == "pre":
            out += verbatim(block[1])
        elif block[0] == "defs":
            out += definitions([(bold(term), text) for term, text in block[1]], render)
        elif block[0] == "head":
            out += [".SS " + escape(block[1])]
    return out


def page(name, section, date, version, sections):
    """A whole page; sections are (title, source lines), those without lines are left out."""
    out = ['.\\" SPDX-License-Identifier: MIT', '.\\" Made by docs/reference/make_reference.py: change what it reads.',
           ".TH %s %s %s %s %s" % (escape(name, True), section, date, argument("libmoco " + version),
                                   argument("libmoco manual"))]
    for title, lines in sections:
        if lines:
            out += [".SH " + title] + (lines[1:] if lines[0] == ".PP" else lines)
    return "\n".join(out) + "\n"
