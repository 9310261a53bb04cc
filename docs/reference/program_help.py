# SPDX-License-Identifier: MIT
"""What `moco --help` and those of its commands print, as data: usage lines and blocks (prose.py).

The texts are laid out for a terminal; what makes them readable there tells their parts apart here. What a reader would
get wrong: two spaces or more end the first column. "--all FILE  text" is an option and what it says; with one space it is
a line of text.
"""
import re
import subprocess
import sys


class Program:
    def __init__(self, name, summary):
        self.name, self.summary = name, summary  # ["moco", "train"]
        self.usage, self.blocks = [], []         # (call, text or "")


def output_of(command):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:  # built for another machine
        sys.stderr.write("no pages of the programs: %s does not run here: %s\n" % (command[0], error))
        return None
    if done.returncode != 0:
        raise SystemExit("%s: status %d: %s" % (" ".join(command), done.returncode, done.stderr.decode()))
    return done.stdout.decode("utf-8")


def read(path):
    """The Programs of moco: itself and its commands, in the order of its help; none where it does not run."""
    text = output_of([path, "--help"])
    if text is None:
        return []
    whole = parse(text, Program(["moco"], "MoCo v2 on the command line: learn an image encoder from pictures without labels"))
    commands = [(term, said) for block in whole.blocks if block[0] == "defs" for term, said in block[1]]
    if len(commands) < 5:
        raise SystemExit("%s --help lists no commands" % path)
    return [whole] + [parse(output_of([path, term, "--help"]), Program(["moco", term], said)) for term, said in commands]


def parse(text, program):
    lines = text.rstrip("\n").split("\n")
    at = 0
    while at < len(lines) and lines[at].strip():
        match = re.match(r"(?:Usage: | {7})(moco\b.*?)(?: {2,}(\S.*))?$", lines[at])
        if match is None:
            break
        program.usage.append((match.group(1), match.group(2) or ""))
        at += 1
    if not program.usage:
        raise SystemExit("%s --help begins with no usage" % " ".join(program.name))
    program.blocks = blocks(lines[at:])
    return program


def two_columns(line):
    """(term, column of the text) of a line that has a term and, behind two spaces or more, a text."""
    match = re.match(r"( {2,})(\S(?:\S| (?! ))*) {2,}(?=\S)", unnamed(line))
    return (match.group(2), match.end()) if match else None


def unnamed(line):
    """"OPTIONS: --all  text" without its title."""
    match = re.match(r"[A-Z]+: +(?=-)", line)
    return " " * match.end() + line[match.end():] if match else line


def blocks(lines):
    out, at = [], 0
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
        elif two_columns(line):
            at = definitions(lines, at, out)
        elif line.startswith("  "):
            end = at
            while end < len(lines) and lines[end].startswith("  ") and not two_columns(lines[end]):
                end += 1
            out.append(("pre", [text[2:] for text in lines[at:end]]))
            at = end
        else:
            end = at + 1
            while end < len(lines) and lines[end].strip() and unnamed(lines[end])[0] != " ":
                end += 1
            text = " ".join(lines[at:end])
            title = end == at + 1 and end < len(lines) and two_columns(lines[end]) and text[-1] not in ".:,"
            out.append(("head" if title and len(text) < 40 else "p", text))
            at = end
    return out


def definitions(lines, at, out):
    pairs, column = [], None
    while at < len(lines) and lines[at].strip():
        line = unnamed(lines[at])
        found = two_columns(line)
        indent = len(line) - len(line.lstrip())
        if indent < 2:
            break
        if found and (column is None or indent < column):
            term, column = found
            pairs.append([term, line[column:]])
        elif pairs and indent >= column:
            pairs[-1][1] += " " + line.strip()
        else:
            break
        at += 1
    out.append(("defs", [tuple(pair) for pair in pairs]))
    return at
