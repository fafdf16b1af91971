#!/usr/bin/env python3
"""Prints the number of tests of each rule in docs/guide/rules.md. The tests of A8 are named `a08_…`.

Exits with 1 if a rule has no test, if the page does not list a rule, or if it names a test that does not exist. Ignored
tests do not count.
"""

from __future__ import annotations

import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "guide" / "rules.md"

TEST = re.compile(
    r"^ *#\[(?:tokio::)?test\b.*\n(?: *#\[(?!ignore).*\n)* *(?:async )?fn ([a-z]\d\d_\w+)\(",
    re.MULTILINE,
)
CASE = re.compile(r"^ +([a-z]\d\d_\w+)$", re.MULTILINE)
"""A case in the list of a suite. Each store that calls the suite has a test of it."""

BUILT = [f"A{number}" for number in range(1, 28) if number != 13]
BUILT += [f"B{number}" for number in range(1, 18)]
BUILT += [f"D{number}" for number in range(1, 10)]
BUILT += [f"E{number}" for number in range(1, 4)]
BUILT += [f"F{number}" for number in range(1, 6)]
BUILT += [f"H{number}" for number in range(1, 5)]
BUILT += [f"T{number}" for number in range(1, 13)]
"""The rules that the page must list. A13 is T2."""

RULE = re.compile(r"^\| ([A-Z])(\d+) \|.*\|$", re.MULTILINE)
NAMED = re.compile(r"`([a-z]\d\d_\w+)`")


def sources() -> list[pathlib.Path]:
    """The .rs files of the repository."""
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.rs"))
    return sorted(path for path in found if "target" not in path.parts)


def tests() -> dict[str, set[str]]:
    """The names of the tests of each rule, such as `a08`."""
    found = collections.defaultdict(set)
    for path in sources():
        text = (ROOT / path).read_text(encoding="utf-8")
        for name in TEST.findall(text) + CASE.findall(text):
            found[name[:3]].add(name)
    return found


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    rules = [(letter + number, f"{letter.lower()}{int(number):02}") for letter, number in RULE.findall(page)]
    if not rules:
        print(f"{PAGE}: no rules found", file=sys.stderr)
        return 1
    found = tests()
    for rule, prefix in rules:
        print(f"{rule:<4}{len(found[prefix]):>4} tests")
    errors = [f"{rule} has no test: name at least one {prefix}_…" for rule, prefix in rules if not found[prefix]]
    listed = {rule for rule, _ in rules}
    errors += [f"{PAGE.name} does not list {rule}" for rule in BUILT if rule not in listed]
    known = set().union(*found.values())
    missing = dict.fromkeys(name for name in NAMED.findall(page) if name not in known)
    errors += [f"{PAGE.name} names {name}, which is not a test" for name in missing]
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
