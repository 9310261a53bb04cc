#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the manual pages and the HTML reference out of the public headers and of what the programs say on --help.

    make_reference.py man3 HEADERS FOLDER     section 3 of the manual, from HEADERS/*.h
    make_reference.py man1 PROGRAM FOLDER     section 1, from PROGRAM --help and those of its commands
    make_reference.py html HEADERS FOLDER [PROGRAM]

Files of FOLDER that are not made any more are removed. `make man` and `make html` call it; it needs Python 3.6 and its
standard library (Debian: python3-minimal). SOURCE_DATE_EPOCH dates the pages; without it the newest file that was read.
"""
import os
import sys
import time

import declarations
import man1
import man3
import pages_html
import program_help


def write(folder, files):
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(folder):
        if name not in files:
            os.remove(os.path.join(folder, name))
    for name, text in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)


def date_of(paths):
    here = os.path.dirname(os.path.abspath(__file__))
    paths = list(paths) + [os.path.join(here, name) for name in os.listdir(here) if name.endswith(".py")]
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or max(os.stat(path).st_mtime for path in paths))
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def headers_in(folder):
    return [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".h")]


def main(arguments):
    if len(arguments) == 3 and arguments[0] == "man3":
        write(arguments[2], man3.pages(declarations.Reference(arguments[1]), date_of(headers_in(arguments[1]))))
    elif len(arguments) == 3 and arguments[0] == "man1":
        programs = program_help.read(arguments[1])
        version = program_help.output_of([arguments[1], "--version"]).split()[-1] if programs else ""
        write(arguments[2], man1.pages(programs, date_of([arguments[1]]), version))
    elif len(arguments) in (3, 4) and arguments[0] == "html":
        programs = program_help.read(arguments[3]) if len(arguments) == 4 else []
        write(arguments[2], pages_html.pages(declarations.Reference(arguments[1]), programs))
    else:
        sys.stderr.write(__doc__)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
