# SPDX-License-Identifier: MIT
"""Section 3: a page for each group of functions, struct, enum, handle and callback; one for each header; an overview."""
import re

import naming
import prose
import roff

WRAP = 70


def pages(reference, date):
    """{file name: text} of all pages. A name that another page documents gets a link to it."""
    groups = [group for group in reference.groups() if group.name.startswith("moco_")]
    known = {name for name in reference.home if name.startswith("moco_")}
    files = {}
    for group in groups:
        files[group.name] = group_page(reference, group, known, date)
        for entry in group.all_entries()[1:]:
            files[entry.name] = ".so man3/%s.3\n" % group.name
    for header in reference.headers[1:]:
        files["libmoco-" + header.short] = header_page(reference, header, known, date)
    files["libmoco"] = overview(reference, known, date)
    files["moco"] = ".so man3/libmoco.3\n"
    return {name + ".3": text for name, text in files.items()}


def wrapped(head, parts, tail):
    """A declaration as .BI lines: `parts` are (before, name, behind) of each parameter, the lines aligned below it."""
    indent = len(head) if len(head) < 40 else 4
    lines, line, width = [], [head, ""], len(head)
    for i, (before, name, behind) in enumerate(parts):
        end = tail if i + 1 == len(parts) else ","
        size = len(before) + len(name) + len(behind) + len(end)
        if width + size + 1 > WRAP and (i > 0 or indent == 4):
            lines.append(line)
            line, width = [" " * indent, ""], indent
        elif i > 0:
            line[-2 if not line[-1] else -1] += " "
            width += 1
        if line[-1] == "":
            line[-2] += before
            line[-1] = name
        else:
            line += [before, name]
        line += [behind + end, ""]
        line = merge(line)
        width += size
    if not parts:
        line[-2] += tail
    lines.append(line)
    return [".BI " + " ".join(roff.argument(roff.escape(part, True)) for part in merge(line, True)) for line in lines]


def merge(line, final=False):
    """Alternating bold and italic pieces: an empty italic one between two bold ones goes."""
    out = [line[0], line[1]]
    for bold, italic in zip(line[2::2], line[3::2]):
        if out[-1] == "":
            out[-2] += bold
            out[-1] = italic
        else:
            out += [bold, italic]
    return out[:-1] if final and out[-1] == "" else out


def synopsis(group, entries):
    out = [".nf", ".B #include <%s>" % group.header.name, ".PP"]
    last = None
    for entry in entries:
        if last is not None:
            out.append(".PP")
        last = entry
        if entry.kind == "function":
            space = "" if entry.result.endswith("*") else " "
            out += wrapped(entry.result.rstrip() + space + entry.name + "(", entry.parameters, ");")
        elif entry.kind == "macro":
            out += wrapped(entry.name + "(", entry.parameters, ");")
        elif entry.kind == "callback":
            space = "" if entry.result.endswith("*") else " "
            out += wrapped("typedef " + entry.result.rstrip() + space + "(*" + entry.name + ")(", entry.parameters, ");")
        elif entry.kind in ("struct", "enum"):
            end = ";" if entry.kind == "struct" else ","
            out += [".B typedef %s %s {" % (entry.kind, entry.name)]
            out += [".B " + roff.argument("    " + roff.escape(line, True)) for field in entry.fields
                    for line in split_field(field.declaration + end)] + [".B } %s;" % entry.name]
        else:
            out += [".B " + roff.escape(entry.source, True)]
    return out + [".fi"]


def split_field(text):
    lines = [text]
    while len(lines[-1]) > WRAP - 4 and ", " in lines[-1][:WRAP - 4]:
        cut = lines[-1].rfind(", ", 0, WRAP - 4) + 1
        lines[-1:] = [lines[-1][:cut], "    " + lines[-1][cut:].strip()]
    return lines


def field_list(entry, render):
    """Fields with something to say; names that one comment documents together are tags of one item."""
    out = []
    for field in entry.fields:
        if field.with_last and out:
            out[-1] = (out[-1][0] + [field.name], out[-1][1])
        elif field.text:
            out.append(([field.name], field.text))
    lines = []
    for names, text in out:
        lines += [".TP", ", ".join(roff.bold(name) for name in names)] + roff.fill(render(text))
    return lines


def group_page(reference, group, known, date):
    own = {entry.name for entry in group.all_entries()}
    first = group.entries[0]

    def render(text):
        return roff.inline(text, own, known)

    description = roff.paragraphs(group.blocks, render)
    for entry in group.all_entries():
        if entry.kind in ("struct", "enum"):
            fields = field_list(entry, render)
            if fields:
                description += ([".PP"] if description else []) + \
                    ["The fields:" if entry.kind == "struct" else "The values:"] + fields
    if first.kind == "struct":
        description += struct_rules(group, render)
    if first.kind == "handle":
        description += handle_uses(reference, first, render)
    if not description:
        description = roff.fill(render(naming.one_line(reference, group).capitalize() + "."))
    functions = [entry for entry in group.all_entries() if entry.kind == "function"]
    labels = dict(group.labels)
    for other in group.tail:
        for label, text in other.labels.items():
            labels.setdefault(label, text)
    statuses = any(entry.result.strip() == "moco_status" for entry in functions)
    names = naming.see_also(reference, group) + ["libmoco-" + group.header.short, "libmoco"]
    sections = [
        ("NAME", roff.fill(", ".join(roff.escape(entry.name, True) for entry in group.all_entries()) + " \\- " +
                           roff.escape(naming.one_line(reference, group)))),
        ("LIBRARY", ["libmoco", ".RB ( \\-lmoco ;", ".BR \"pkg\\-config \\-\\-cflags \\-\\-libs moco\" )"]),
        ("SYNOPSIS", synopsis(group, group.all_entries())),
        ("DESCRIPTION", description),
        ("RETURN VALUE", return_value(render) if statuses else []),
        ("ERRORS", errors(reference, labels.get("Errors"), render)),
        ("MEMORY", roff.fill(render(sentence(labels["Memory"]))) if "Memory" in labels else []),
        ("THREADS", roff.fill(render(sentence(labels["Threads"]) + " See CONVENTIONS in libmoco(3).")) if "Threads" in labels else []),
        ("C++", in_cpp(reference, group)),
        ("HISTORY", ["Since libmoco %s." % labels["Since"]] if "Since" in labels else []),
        ("SEE ALSO", see_also_lines(names)),
    ]
    return roff.page(first.name, 3, date, reference.version, sections)


def in_cpp(reference, group):
    names = reference.in_cpp(group.all_entries())
    return roff.fill("%s (moco/moco.hpp)." % ", ".join(roff.bold(name) for name in names)) if names else []


def return_value(render):
    return [".BR MOCO_OK ,"] + roff.fill(render("or a negative moco_status, and then moco_error() says in one sentence what, "
                                                "where and why."))


def errors(reference, text, render):
    if not text:
        return []
    out = []
    for code, why in prose.split_errors(text):
        if code is None:
            out += ([".PP"] if out else []) + roff.fill(render(sentence(why)))
        else:
            why = why or reference.constants.get(code, "")
            out += [".TP", ".B " + code] + roff.fill(render(sentence(why)))
    return out


def sentence(text):
    text = text.strip()
    if re.match(r"[a-z]+[ ,.]", text):
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."


def capitalised(blocks):
    """An introduction, whose first sentence goes on behind the header's name."""
    return [(blocks[0][0], sentence(blocks[0][1]))] + blocks[1:] if blocks else []


def struct_rules(group, render):
    """How it is filled: what the headers say of that, and what follows for whoever writes a program."""
    out = [line for other in group.tail for line in [".PP"] + roff.paragraphs(other.blocks, render)]
    macros = [entry.name for entry in group.all_entries() if entry.kind == "macro"]
    if macros and group.entries[0].fields[0].name == "struct_size":
        out += [".PP", ".BR %s ()" % macros[0], "sets", ".I struct_size", "and the defaults; call it before anything else is set."]
    return out


def handle_uses(reference, handle, render):
    made, others = [], []
    for entry in reference.uses(handle.name):
        (made if naming.handle_made(entry) == handle.name else others).append(entry.name)
    out = []
    for title, names in (("Made by", made), ("Used by", [name for name in others if not name.endswith("_free")]),
                         ("Freed by", [handle.name + "_free"])):
        if names and names[-1] in reference.home:
            out += [".TP", title] + roff.fill(render(", ".join(names) + "."))
    return out


def see_also_lines(names):
    return [".BR %s (3)%s" % (roff.escape(name, True), "," if i + 1 < len(names) else "") for i, name in enumerate(names)]


def header_page(reference, header, known, date):
    def render(text):
        return roff.inline(text, (), known)

    out, section = [], None
    for group in header.groups:
        if group.section != section and group.section:
            section = group.section
            out += [".SS " + roff.escape(section.capitalize())]
        names = [entry.name for entry in group.entries]
        if group.entries[0].kind == "constant":  # which has no page of its own
            out += [".TP"] + [line for entry in group.entries for line in (roff.bold(entry.source), ".TQ")][:-1]
            out += roff.paragraphs(group.blocks, render) or ["\\&"]
            continue
        out += [".TP", ", ".join(roff.bold(name) + ("(3)" if name in known else "") for name in names)]
        out += roff.fill(roff.escape(sentence(naming.one_line(reference, group))))
    others = ["libmoco-" + other.short for other in reference.headers[1:] if other is not header]
    return roff.page("libmoco-" + header.short, 3, date, reference.version, [
        ("NAME", ["libmoco\\-%s \\- %s" % (header.short, roff.escape(header.summary))]),
        ("SYNOPSIS", [".B #include <%s>" % header.name]),
        ("DESCRIPTION", roff.paragraphs(capitalised(header.intro), render)),
        ("DECLARATIONS", out),
        ("SEE ALSO", see_also_lines(["libmoco"] + sorted(others)))])


def overview(reference, known, date):
    def render(text):
        return roff.inline(text, (), known)

    headers = [(roff.bold(header.name), header.summary[0].upper() + header.summary[1:] + ": libmoco-%s(3)." % header.short)
               for header in reference.headers[1:]]
    base = next(header for header in reference.headers if header.name == "moco/base.h")
    return roff.page("libmoco", 3, date, reference.version, [
        ("NAME", ["libmoco, moco \\- an image encoder learned from pictures without labels (MoCo v2)"]),
        ("LIBRARY", ["libmoco", ".RB ( \\-lmoco ;", ".BR \"pkg\\-config \\-\\-cflags \\-\\-libs moco\" )"]),
        ("SYNOPSIS", [".B #include <moco/moco.h>"]),
        ("DESCRIPTION", roff.paragraphs(capitalised(reference.headers[0].intro), render)),
        ("HEADERS", roff.definitions(headers)),
        ("C++", roff.paragraphs(capitalised(reference.cpp_intro), render)),
        ("CONVENTIONS", roff.paragraphs(base.intro[1:], render)),
        ("SEE ALSO", [".BR moco (1),", ".BR libmoco\\-base (3),", ".BR libmoco\\-preset (3)"])])
