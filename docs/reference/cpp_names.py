# SPDX-License-Identifier: MIT
"""What the functions of C are called in moco.hpp, from the headers of include/moco/cpp.

Read by lines, as clang-format leaves them: members of a class are indented by four spaces, what goes on in one by more.
What a reader would get wrong: a function of C belongs to the last definition above it. One that two calls use (a call and
its shorter form) is named once."""
import os
import re


def read(folder):
    """{function of C: name in C++}, {} if there are no such headers."""
    names = {}
    for file in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if file.endswith(".hpp"):
            with open(os.path.join(folder, file), encoding="utf-8") as header:
                read_header(header.read(), names)
    return names


def read_header(text, names):
    owner, call, inside = "", "", False
    for line in re.sub(r"/\*.*?\*/", lambda match: "\n" * match.group(0).count("\n"), text, flags=re.S).split("\n"):
        if re.match(r"namespace detail$", line):
            inside = True
        elif re.match(r"\} // namespace detail", line):
            inside = False
        alias = re.match(r"using (\w+) = with_defaults<\w+, (moco_\w+)>", line)
        made = re.match(r"(?:template <.*> )?(?:class|struct) (\w+)(?: : .*)?$", line)
        if line.startswith(("class ", "struct ")) and made is None:
            made = re.match(r"(?:class|struct) (\w+)", line)
        if alias:
            names.setdefault(alias.group(2), "moco::" + alias.group(1))
        elif made and not inside:
            owner, call = made.group(1) + "::", ""
            for function in re.findall(r"\bmoco_\w+_(?:free|init_sized)\b", line):
                ending = "::~" + made.group(1) if function.endswith("_free") else ""
                names.setdefault(function, "moco::" + made.group(1) + ending)
            continue
        elif line == "};":
            owner, call = "", ""
        plain = re.sub(r"^( *)template <[^<>()]*> ", r"\1", line)
        found = re.match(r" {4}(?![ #])(?!using|return|if|for|template)[\w:<>,*& ]*?\b(\w+)\(" if owner else
                         r"inline [\w:<>,*& ]*?\b(\w+)\(", plain)
        call = found.group(1) if found else call
        if not inside and call:
            for function in re.findall(r"\bmoco_\w+\b(?=[(,])", line):
                names.setdefault(function, "moco::" + owner + re.sub(r"^try_", "", call))
