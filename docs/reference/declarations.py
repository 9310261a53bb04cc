# SPDX-License-Identifier: MIT
"""The public headers as data: every declaration with the comment that documents it.

Read by lines, as clang-format leaves them, not by a C parser: what is not understood stops the program with its file and
line, so that nothing is left out in silence. What a reader would get wrong: a comment documents all declarations that
follow it up to an empty line or the next comment.
"""
import os
import re

import cpp_names
import prose


class Field:
    """A member of a struct, or a constant of an enum."""

    def __init__(self, declaration):
        self.declaration = declaration  # "int32_t dtype", "MOCO_EIO = -4"
        self.name = field_name(declaration)
        self.text = ""
        self.with_last = False  # documented by the comment of the field before it


class Entry:
    """One declaration: kind is function, macro, struct, enum, handle, callback or constant."""

    def __init__(self, kind, name, source):
        self.kind, self.name, self.source = kind, name, source
        self.fields = []  # struct, enum
        self.result, self.parameters = "", []  # function, callback, macro: parameters as (before, name, behind)


class Group:
    """Declarations that one comment documents."""

    def __init__(self, header, section):
        self.header, self.section = header, section
        self.entries, self.blocks, self.labels = [], [], {}
        self.tail = []  # groups that belong to this one's struct: how its defaults are filled

    @property
    def name(self):
        return self.entries[0].name

    def all_entries(self):
        return self.entries + [entry for group in self.tail for entry in group.entries]


class Header:
    def __init__(self, name):
        self.name = name  # "moco/data.h"
        self.short = os.path.basename(name)[:-2]
        self.summary, self.intro, self.includes, self.groups = "", [], {}, []


def field_name(declaration):
    match = re.search(r"\(\*(\w+)\)", declaration)
    if match:
        return match.group(1)
    names = [re.search(r"(\w+)\s*(?:\[[^\]]*\]|= .*)?$", part.strip()).group(1) for part in declaration.split(",")]
    return ", ".join(names)


def squeeze(text):
    return re.sub(r"\s+", " ", text).strip()


def fields_of(body, separator):
    """Members with their comments: behind one on its line, or on lines of its own before one."""
    fields, before, own_before = [], "", False
    for match in re.finditer(r"/\*.*?\*/|[^%s/]+%s?" % (separator, separator), body, re.S):
        piece = match.group(0)
        if piece.startswith("/*"):
            line = body[body.rfind("\n", 0, match.start()) + 1:match.start()]
            text = " ".join(" ".join(block[1]) if block[0] in ("list", "pre") else block[1]
                            for block in prose.blocks([part.strip() for part in prose.uncomment(piece)]))
            if line.strip() and fields:
                fields[-1].text = (fields[-1].text + " " + text).strip()
                own_before = False
            else:
                before = (before + " " + text).strip()
        elif piece.strip(" \n" + separator):
            declaration = squeeze(piece).rstrip(separator).strip()
            field = Field(declaration)
            field.text, field.with_last = before, own_before and not before
            own_before = bool(before) or (own_before and not before)
            before = ""
            fields.append(field)
    for i, field in enumerate(fields):  # a comment behind a member is its own after all
        if field.with_last and field.text:
            field.with_last = False
    return fields


def parameters_of(text):
    out = []
    for part in split_parameters(text):
        match = re.match(r"(.*?)(\w+)((?:\[\w*\])*)$", part, re.S)
        if part == "void" or match is None:
            out.append((part, "", ""))
        else:
            out.append(match.groups())
    return out


def split_parameters(text):
    depth, start, out = 0, 0, []
    for i, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            out.append(text[start:i].strip())
            start = i + 1
    out.append(text[start:].strip())
    return out


def declaration(text):
    """The Entry of one declaration, or None: it is not of the kind that is documented."""
    flat = squeeze(text)
    match = re.match(r"MOCO_API (.*?)(moco_\w+)\((.*)\);$", flat)
    if match:
        entry = Entry("function", match.group(2), flat[len("MOCO_API "):])
        entry.result, entry.parameters = match.group(1), parameters_of(match.group(3))
        return entry
    match = re.match(r"#define (moco_\w+)\(([^)]*)\) (.*)$", flat)
    if match:
        entry = Entry("macro", match.group(1), "%s(%s)" % (match.group(1), match.group(2)))
        entry.parameters = [("", name.strip(), "") for name in match.group(2).split(",")]
        return entry
    match = re.match(r"#define (MOCO_\w+)(?: (.*))?$", flat)
    if match and not match.group(1).endswith("_H"):
        return Entry("constant", match.group(1), flat)
    match = re.match(r"typedef struct (moco_\w+) (moco_\w+);$", flat)
    if match:
        return Entry("handle", match.group(2), flat)
    match = re.match(r"typedef (.*?)\(\*(moco_\w+)\)\((.*)\);$", flat)
    if match:
        entry = Entry("callback", match.group(2), flat)
        entry.result, entry.parameters = match.group(1), parameters_of(match.group(3))
        return entry
    match = re.match(r"typedef (struct|enum) moco_\w+ \{(.*)\} (moco_\w+);$", text.strip(), re.S)
    if match:
        entry = Entry(match.group(1), match.group(3), flat)
        entry.fields = fields_of(match.group(2), ";" if match.group(1) == "struct" else ",")
        return entry
    return None


SKIPPED = re.compile(r"#(ifndef|ifdef|if|else|endif|include|error)\b|extern \"C\" \{$|\}$|struct \w+;")


def read(path):
    header = Header("moco/" + os.path.basename(path))
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")
    at, section, group, comment, seen = 0, "", None, None, set()

    def stop(why):
        raise SystemExit("%s:%d: %s" % (path, at + 1, why))

    while at < len(lines):
        line = lines[at]
        if not line.strip():
            if comment is not None:
                stop("a comment that no declaration follows")
            group, at = None, at + 1
        elif line.startswith("/*"):
            end = at
            while "*/" not in lines[end]:
                end += 1
            text = "\n".join(lines[at:end + 1])
            title = re.match(r"/\* ---- (.*) ---- \*/$", text)
            if title:
                section = title.group(1)
            elif not header.intro:
                header.intro = introduction(header, text)
            elif re.match(r"(/\* clang-format \w+ \*/|#include)", lines[end + 1]) or "clang-format" in text:
                pass
            else:
                comment, group = text, None
            at = end + 1
        elif SKIPPED.match(line):
            match = re.match(r"#include \"(moco/\w+\.h)\"\s*/\* (.*) \*/", line)
            if match:
                header.includes[match.group(1)] = match.group(2)
            at += 1
        else:
            end, text = at, line
            while not complete(text):
                end += 1
                if end == len(lines):
                    stop("a declaration that does not end")
                text += "\n" + lines[end]
            text = text.replace("\\\n", "\n") if line.startswith("#define") else text
            entry = declaration(text)
            if entry is None and line != "#define MOCO_%s_H" % header.short.upper():
                stop("this is no declaration that the reference knows: " + line)
            if entry is not None and entry.name not in seen:
                seen.add(entry.name)
                if group is None:
                    group = Group(header, section)
                    header.groups.append(group)
                    if comment is not None:
                        group.blocks, group.labels = prose.labelled(prose.blocks(prose.uncomment(comment)))
                group.entries.append(entry)
            comment, at = None, end + 1
    join_defaults(header)
    return header


def complete(text):
    if text.startswith("#"):
        return not text.endswith("\\")
    bare = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return "/*" not in bare and bare.count("{") == bare.count("}") and bare.rstrip().endswith(";")


def introduction(header, text):
    lines = prose.uncomment(text)
    if not lines[0].startswith("SPDX"):
        raise SystemExit("%s: the first comment has no SPDX line" % header.name)
    while lines and (lines[0].startswith("SPDX") or not lines[0]):
        lines.pop(0)
    mark = header.name + ": "
    if not lines[0].startswith(mark):
        raise SystemExit("%s: its introduction does not begin with its name" % header.name)
    lines[0] = lines[0][len(mark):]
    return prose.blocks(lines)


def join_defaults(header):
    """How the defaults of a struct are filled belongs to the struct."""
    kept = []
    for group in header.groups:
        names = [entry.name for entry in group.entries]
        for other in kept:
            if other.entries[0].kind == "struct" and names[0] == other.name + "_init_sized":
                other.tail.append(group)
                break
        else:
            kept.append(group)
    header.groups = kept


class Reference:
    """All headers, in the order of moco/moco.h, and where each name is documented."""

    def __init__(self, folder):
        paths = {("moco/" + name): os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".h")}
        everything = read(paths["moco/moco.h"])
        order = list(everything.includes)
        order += [name for name in paths if name not in order and name != "moco/moco.h"]
        self.headers = [everything] + [read(paths[name]) for name in order]
        self.version = version_of(paths["moco/base.h"])
        self.home, self.constants = {}, {}
        for header in self.headers:
            header.summary = everything.includes.get(header.name) or prose.first_clause(header.intro[0][1])
            for group in header.groups:
                for entry in group.all_entries():
                    self.home[entry.name] = group
                    if entry.kind == "enum":
                        for field in entry.fields:
                            self.home[field.name] = group
                            self.constants[field.name] = field.text
        everything.summary = "all of libmoco"
        self.cpp, self.cpp_intro = cpp_names.read(os.path.join(folder, "cpp")), []
        if self.cpp:
            with open(os.path.join(folder, "moco.hpp"), encoding="utf-8") as file:
                comment = re.search(r"/\*.*?\*/", file.read(), re.S).group(0)
            self.cpp_intro = introduction(Header("moco/moco.hpp"), comment)

    def groups(self):
        return [group for header in self.headers for group in header.groups]

    def in_cpp(self, entries):
        """What these functions are called in C++, each once."""
        names = [self.cpp[entry.name] for entry in entries if entry.name in self.cpp]
        return list(dict.fromkeys(names))

    def uses(self, handle):
        """The functions that take or make a handle."""
        pattern = re.compile(r"\b%s\b" % re.escape(handle))
        return [entry for group in self.groups() for entry in group.all_entries()
                if entry.kind == "function" and any(pattern.search(before) for before, _, _ in entry.parameters)]


def version_of(path):
    with open(path, encoding="utf-8") as file:
        numbers = re.findall(r"^#define MOCO_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)$", file.read(), re.M)
    return ".".join(numbers)
