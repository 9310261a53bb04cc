# SPDX-License-Identifier: MIT
"""Section 1: moco and each of its commands, from what they print on --help."""
import re

import roff


def pages(programs, date, version):
    names = ["-".join(program.name) for program in programs]
    return {name + ".1": page(program, names, date, version) for name, program in zip(names, programs)}


def page(program, names, date, version):
    name = "-".join(program.name)
    sections = [("NAME", roff.fill(roff.escape(name, True) + " \\- " + roff.escape(program.summary))),
                ("SYNOPSIS", synopsis(program))]
    for title, blocks in parts(program):
        sections.append((title, body(blocks, program.name == ["moco"])))
    others = ["moco"] + [other for other in names if other != "moco"]
    others = [other for other in others if other != name]
    sections.append(("SEE ALSO", [".BR %s (1)," % roff.escape(other, True) for other in others] + [".BR libmoco (3)"]))
    return roff.page(name, 1, date, version, sections)


def synopsis(program):
    out = []
    for call, _ in program.usage:
        words = roff.escape(call, True)
        head = roff.escape(" ".join(program.name), True)
        rest = words[len(head):].strip() if words.startswith(head) else words
        rest = re.sub(r"(?<![A-Za-z])([A-Z][A-Z0-9_]*)(?![a-z])", r"\\fI\1\\fP", rest)
        out += ([".br"] if out else []) + roff.fill("\\fB%s\\fP %s" % (head, rest))
    return out


def parts(program):
    """[(title, blocks)]: what is said first, options, and what is said behind them."""
    described = [(call, text) for call, text in program.usage if text]
    groups = [("DESCRIPTION", ([("defs", described)] if described else []))]
    options_seen = False
    for i, block in enumerate(program.blocks):
        following = program.blocks[i + 1] if i + 1 < len(program.blocks) else ("", "")
        options = is_options(block) or (block[0] == "head" and is_options(following))
        ending = re.search(r"(^|(?<=\. ))Exit (codes|status): ", block[1]) if block[0] == "p" else None
        if ending:
            if ending.start() > 0:
                groups[-1][1].append(("p", block[1][:ending.start()].strip()))
            groups.append(("EXIT STATUS", [("p", block[1][ending.end():])]))
            continue
        if options and groups[-1][0] != "OPTIONS":
            groups.append(("OPTIONS", []))
            options_seen = True
        elif not options and options_seen and block[0] == "head":
            groups.append(("FILES", []))
            block = ("p", block[1] + ":")
        elif not options and groups[-1][0] in ("OPTIONS", "EXIT STATUS"):
            groups.append(("NOTES" if options_seen else "DESCRIPTION", []))
        groups[-1][1].append(block)
    return merged(groups)


def merged(groups):
    """Sections of one title are one, where the first stood; how a program ends comes last."""
    out = {}
    for title, blocks in groups:
        out.setdefault(title, []).extend(blocks)
    ending = out.pop("EXIT STATUS", [])
    return [(title, blocks) for title, blocks in list(out.items()) + [("EXIT STATUS", ending)] if blocks]


def is_options(block):
    return block[0] == "defs" and block[1] and block[1][0][0].startswith("-")


def option(term):
    """"-a, --arch NAME": the option in bold, its argument in italics."""
    words = []
    for word in term.split(" "):
        comma = "," if word.endswith(",") else ""
        word = word[:-1] if comma else word
        words.append((roff.bold(word) if word.startswith("-") else roff.italic(word)) + comma)
    return " ".join(words)


def body(blocks, commands=False):
    """Blocks of a section; `commands`: terms that are words name pages of their own."""
    out = []
    for block in blocks:
        if is_options(block):
            out += roff.definitions([(option(term), text) for term, text in block[1]])
        elif commands and block[0] == "defs" and block[1][0][0].isalpha():
            out += roff.definitions([(".BR moco\\-%s (1)" % term, text) for term, text in block[1]])
        else:
            out += ([".PP"] if out and block[0] == "p" else []) + roff.paragraphs([block])
    return out
