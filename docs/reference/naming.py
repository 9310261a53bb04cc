# SPDX-License-Identifier: MIT
"""One line for each documented name, as `apropos` and lists show it, and what to read beside it."""
import re

import prose

# Beginnings of comments that say how an argument is treated, not what the function does.
NO_SUMMARY = re.compile(r"(\w+ (is|are) (copied|drawn)|the recipe is copied|owned|defaults|convenience|null is fine|\")", re.I)


def handle_made(entry):
    """The handle that a function makes: what its first argument points to a pointer of."""
    match = re.match(r"(moco_\w+) \*\*$", entry.parameters[0][0]) if entry.parameters else None
    return match.group(1) if match else None


def struct_types(entry):
    return [match.group(1) for match in (re.match(r"(?:const )?(?:struct )?(moco_\w+) \*$", before)
                                         for before, _, _ in entry.parameters) if match]


def one_line(reference, group):
    entry = group.entries[0]
    text = next((block[1] for block in group.blocks if block[0] == "p"), "")
    text = re.sub(r"^[A-Z][a-z]+: (?=[a-z])", "", text)  # "Convenience: part of ..."
    clause = prose.first_clause(text)
    poor = not clause or NO_SUMMARY.match(clause) is not None
    line = None
    if entry.kind == "function":
        line = of_function(entry, clause, poor)
    elif entry.kind == "struct":
        line = of_struct(reference, entry, poor)
    elif entry.kind == "enum" and (poor or re.match(r"[A-Z_]+$", clause)):
        line = of_enum(reference, entry)
    elif entry.kind == "handle" and poor:
        line = "opaque handle of " + group.header.name
    return line or (clause if clause and not poor else clause if clause.startswith('"') else "part of " + group.header.name)


def of_function(entry, clause, poor):
    if entry.name.endswith("_free"):
        return "frees a " + entry.name[:-len("_free")]
    made, types = handle_made(entry), struct_types(entry)
    if made and (poor or entry.name.endswith("_create")):
        source = [name for name in types if name.endswith("_source")]
        return "makes a %s%s" % (made, " from a " + source[0] if source else "")
    if made and re.match(r"opens \w+ \(copied\)$", clause):
        return "opens a " + made
    filled = [name for name in types if ("%s *" % name) in [before for before, _, _ in entry.parameters]]
    if filled and entry.result.strip() == "moco_status" and (poor or re.match(r"fills \w+$", clause)):
        return "fills a " + (filled[0] if poor else filled[-1])
    return None


def of_struct(reference, entry, poor):
    family = entry.name.rsplit("_", 1)[0]
    users = [use for use in reference.uses(entry.name) if not use.name.endswith("_sized")]
    users.sort(key=lambda use: (not use.name.startswith(family), handle_made(use) is None))
    if users and entry.name.endswith("_options"):
        return "options of " + users[0].name
    if users and poor:
        return "what %s fills" % users[0].name
    return None


def of_enum(reference, entry):
    entries = [other for group in reference.groups() for other in group.entries]
    for where in (r"%s\b", r".*\b%s\b"):  # what a field's comment begins with, or speaks of
        for other in entries:
            for field in other.fields if other.kind == "struct" else []:
                if re.match(where % entry.name, field.text):
                    return "values of %s in %s" % (field.name, other.name)
    for other in entries:
        if other.kind == "function" and (entry.name + " ") in [before for before, _, _ in other.parameters]:
            return "argument of " + other.name
    return None


def names_in(group):
    """Every name of libmoco that the comments of a group speak of."""
    texts = [block[1] if isinstance(block[1], str) else " ".join(str(part) for part in block[1]) for block in group.blocks]
    texts += list(group.labels.values())
    for entry in group.all_entries():
        texts += [field.text for field in entry.fields] + [entry.source]
    return re.findall(r"\b(?:moco|MOCO)_\w+", " ".join(texts))


def see_also(reference, group):
    """Names of other pages: those that the text and the declarations speak of, then what is in the same section."""
    own = {entry.name for entry in group.all_entries()}
    homes = [reference.home[name].name for name in names_in(group) if name in reference.home]
    homes += [other.name for other in group.header.groups if other.section == group.section]
    return sorted({name for name in homes if name not in own and name.startswith("moco_")})
