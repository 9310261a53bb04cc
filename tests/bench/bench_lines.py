# SPDX-License-Identifier: MIT
"""bench_lines: a line of the table that `make bench` prints. What a reader would get wrong: `goal` is None where there is
none, and `at_least` then means nothing."""
import collections

# value: a number; at_least: the goal is a lower bound; note: what it was measured with
Line = collections.namedtuple("Line", "what value unit goal at_least note")


def at_least(what, value, goal, note="", unit=""):
    return Line(what, value, unit, goal, True, note)


def at_most(what, value, goal, note="", unit=""):
    return Line(what, value, unit, goal, False, note)


def fact(what, value, note="", unit=""):
    return Line(what, value, unit, None, True, note)
