# SPDX-License-Identifier: MIT
"""Comments of the headers and texts of --help as blocks: paragraphs, lists, and what is laid out by hand.

A block is ("p", TEXT), ("list", [TEXT]), ("pre", [LINE]), ("defs", [(TERM, TEXT)]) or ("head", TEXT). Python's standard
library as far as Debian's python3-minimal has it. What a reader would get wrong: a line that is indented by two or more
is laid out by hand, a table or code, and keeps its line breaks; everything else is filled again.
"""
import re

LABELS = ("Errors", "Memory", "Threads")
WIDTH = 116  # a line that ends well before this, at the end of a sentence, was ended on purpose


def uncomment(text):
    """The lines of a C comment without its marks."""
    text = re.sub(r"^\s*/\*\s?", "", text.rstrip())
    text = re.sub(r"\s*\*/$", "", text)
    lines = text.split("\n")
    starred = all(re.match(r"\s*\*", line) for line in lines[1:])
    for i in range(1, len(lines)):
        lines[i] = re.sub(r"^\s*\* ?", "", lines[i]) if starred else lines[i].strip()
    return [line.rstrip() for line in lines]


def ended_on_purpose(line, following):
    word = following.split(" ")[0]
    return line[-1:] in ".:" and len(line) + 1 + len(word) <= WIDTH - 3


def blocks(lines):
    """Lines of a comment, as uncomment gives them, to blocks."""
    out, text, pre, items = [], [], [], []

    def flush():
        while pre and not pre[-1]:
            pre.pop()
        if text:
            out.append(("p", " ".join(text)))
        if items:
            out.append(("list", [" ".join(item) for item in items]))
        if pre:
            indent = min(len(line) - len(line.lstrip()) for line in pre if line)
            out.append(("pre", [line[indent:] for line in pre]))
        text.clear(), pre.clear(), items.clear()

    last = ""
    for line in lines:
        indent = len(line) - len(line.lstrip())
        body = line.strip()
        if not body:
            if pre:
                pre.append("")
            else:
                flush()
        elif indent <= 1 and body.startswith("- "):
            if not items:
                flush()
            items.append([body[2:]])
        elif items and indent >= 2:
            items[-1].append(body)
        elif indent >= 2:
            if not pre:
                flush()
            pre.append(line)
        else:
            if pre or items or (text and ended_on_purpose(last, body)):
                flush()
            text.append(body)
        last = line
    flush()
    return out


def labelled(some):
    """Takes "Errors:", "Memory:" and "Threads:" with their text, and Since, out of paragraphs: (blocks, {label: text})."""
    out, found = [], {}
    mark = re.compile(r"(?:^|(?<=[.;)] ))(%s): |(?:^|(?<=[.)] ))Since (\d+\.\d+)\." % "|".join(LABELS))
    for block in some:
        if block[0] != "p":
            out.append(block)
            continue
        text, pieces = block[1], list(mark.finditer(block[1]))
        head = text[:pieces[0].start()] if pieces else text
        if head.strip():
            out.append(("p", head.strip()))
        for i, piece in enumerate(pieces):
            end = pieces[i + 1].start() if i + 1 < len(pieces) else len(text)
            if piece.group(2):
                found["Since"] = piece.group(2)
                if text[piece.end():end].strip():
                    out.append(("p", text[piece.end():end].strip()))
            else:
                label = piece.group(1)
                found[label] = (found.get(label, "") + " " + text[piece.end():end]).strip()
    return out, found


def split_errors(text):
    """"MOCO_EINVAL names the option, MOCO_ENOMEM." as [(code or None, text)]: a comma, semicolon or full stop outside of
    parentheses, before a code, begins another one."""
    depth, start, parts = 0, 0, []
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter in ",;." and depth == 0 and re.match(r" (?:of \w+ )?MOCO_E[A-Z]+\b", text[i + 1:]):
            parts.append(text[start:i])
            start = i + 1
    parts.append(text[start:])
    out = []
    for part in parts:
        part = part.strip().rstrip(";,")
        match = re.match(r"((?:of \w+ )?)(MOCO_E[A-Z]+)\b(.*)$", part, re.S)
        if match is None:
            out.append((None, part))
            continue
        rest = match.group(3).strip()
        rest = re.sub(r"^:\s*", "", rest).rstrip(".")
        if rest.startswith("(") and rest.endswith(")") and balanced(rest[1:-1]):
            rest = rest[1:-1]
        out.append((match.group(2), (match.group(1) + rest).strip()))
    return out


def balanced(text):
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return False
    return depth == 0


SPANS = re.compile(r"`([^`]+)`|\*(owned|borrowed|copied)\*|\b(moco/[a-z]+\.h)\b|\b(docs/[a-z-]+\.md)\b|"
                   r"\b((?:moco|MOCO)_[A-Za-z0-9_]*\w)\b(\(\))?")


def spans(text):
    """[(kind, text)]: text, code (a parameter, a name), em (a word of ownership), header, doc, name (moco_..., MOCO_...)."""
    at, out = 0, []
    for match in SPANS.finditer(text):
        if match.start() > at:
            out.append(("text", text[at:match.start()]))
        for kind, piece in zip(("code", "em", "header", "doc", "name"), match.groups()):
            if piece is not None:
                out.append((kind, piece))
        at = match.end()
    if at < len(text):
        out.append(("text", text[at:]))
    return out


def first_clause(text, most=72):
    """The beginning of a sentence, as far as it makes sense alone in a list of names."""
    ends, commas, depth = len(text), [], 0
    for i, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        if depth == 0 and text[i + 1:i + 2] in ("", " "):
            if letter in ".;:":
                ends = i
                break
            if letter == ",":
                commas.append(i)
    if ends > most:
        ends = max([at for at in commas if 20 <= at <= most] or [ends])
    text = re.sub(r"\s*\([^()]*\)", "", text[:ends]) if ends > most else text[:ends]
    if len(text) > most:
        text = text[:text.rfind(" ", 0, most)] + " ..."
    text = re.sub(r"(,| or| and| with| of| to)+$", "", text.replace("`", "").strip())
    if re.match(r"[A-Z][a-z']*(,|\s|$)", text):
        text = text[0].lower() + text[1:]
    return text
