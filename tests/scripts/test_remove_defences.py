"""The table of defences to remove follows the code: each text stands in its file once, and its replacement parses."""

from __future__ import annotations

import ast

import cheats
import pytest
import remove_defences
from remove_defences import REMOVALS, Removal


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: removal.what)
def test_a_defence_stands_in_its_file_once(removal: Removal) -> None:
    source = (remove_defences.ROOT / removal.file).read_text(encoding="utf-8")
    assert source.count(removal.old) == 1 and removal.old != removal.new
    ast.parse(source.replace(removal.old, removal.new))


def test_the_cases_that_miss_a_defence_are_there() -> None:
    named = {test.partition("[")[2].rstrip("]") or test for removal in REMOVALS for test in removal.tests}
    assert named <= {case.name for case in cheats.cases()}


def test_the_page_shows_the_table() -> None:
    page = remove_defences.PAGE.read_text(encoding="utf-8")
    assert [removal.what for removal in REMOVALS if f"| {removal.what} | {removal.file} |" not in page] == []


@pytest.mark.parametrize(
    "case", [case for case in cheats.cases() if case.verdict != "honest"], ids=lambda case: case.name
)
def test_a_case_names_the_file_of_its_defence(case: cheats.Case) -> None:
    file, _, defence = case.defence.partition(": ")
    assert defence and (file == "none" or (remove_defences.ROOT / file).is_file())
