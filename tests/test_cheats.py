"""The cheat corpus: each case gets the verdict that tests/cheats/cases.toml says. scripts/attack/cheats.py runs them.

`scripts/test` runs one case for each defence, `scripts/test --all` every case, but for one that wants the machine for
itself and is left to `.ci/run`. They are dealt out to two groups, so that both workers of the test run have some; a
group's selected cases run together, in a process of their own.
"""

from __future__ import annotations

import difflib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cheats
import pytest
from markdown_it import MarkdownIt

from harness.board import charts
from harness.isolation import sandbox
from harness.tracks.track import ROOT

CASES = {case.name: case for case in cheats.cases()}
ISOLATION = sandbox.isolation()
pytestmark = [
    pytest.mark.skipif(ISOLATION.level != "full", reason="; ".join(ISOLATION.reasons)),
    pytest.mark.timeout(1200),  # the first test waits for all
]


GROUPS = {
    case.name: f"cheats {number % 2}"
    for number, case in enumerate(sorted(CASES.values(), key=lambda case: case.session))
}
DEFAULT = {case.name for case in cheats.representatives()}


def param(name: str) -> Any:
    """The case, marked with its group and tier."""
    marks = [pytest.mark.xdist_group(GROUPS[name])]
    marks += [pytest.mark.all] * (name not in DEFAULT) + [pytest.mark.slow] * CASES[name].slow
    marks += [pytest.mark.long] * CASES[name].alone
    if reason := CASES[name].xfail:
        marks.append(pytest.mark.xfail(reason=reason))
    return pytest.param(name, marks=marks)


@pytest.fixture(scope="session")
def results_by_group() -> dict[str, dict[str, Any]]:
    """What became of the cases of each group that has been run."""
    return {}


@pytest.fixture
def results(
    request: pytest.FixtureRequest,
    results_by_group: dict[str, dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
) -> dict[str, Any]:
    """What became of the cases in this case's group that this session of pytest asks for."""
    group = GROUPS[name]
    if group not in results_by_group:
        here = [item for item in request.session.items if item.path == Path(__file__) and hasattr(item, "callspec")]
        asked = {item.callspec.params["name"] for item in here}
        names = [other for other in CASES if other in asked and GROUPS[other] == group]
        report = tmp_path_factory.mktemp("cheats") / "results.json"
        command = [sys.executable, cheats.__file__, "--json", str(report), *names]
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", cwd=ROOT, env={"PYTHONPATH": str(ROOT)} | env()
        )
        assert report.exists(), done.stderr[-3000:]
        results_by_group[group] = json.loads(report.read_text(encoding="utf-8"))
    return results_by_group[group]


def env() -> dict[str, str]:
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


@pytest.mark.parametrize("name", [param(name) for name in CASES])
def test_a_case_gets_its_verdict(results: dict[str, Any], name: str) -> None:
    problems = results["cases"][name]["problems"]
    assert not problems, "; ".join(problems)


@pytest.mark.parametrize("name", [param("log-escapes")])
def test_nothing_of_a_log_or_a_header_reaches_the_terminal_raw(results: dict[str, Any], name: str) -> None:
    assert "\x1b]0;owned" in results["cases"][name]["logs"][0]
    for line in results["messages"]:
        assert line.replace("\n  ", " ").isprintable(), ascii(line)
        assert "owned" not in line


@pytest.mark.parametrize("name", [param("hostile-manifest")])
def test_the_board_of_all_these_records_holds_only_our_own_structure(results: dict[str, Any], name: str) -> None:
    assert results["cases"][name]["got"] == "harmless"
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    for page, text in results["pages"].items():
        assert not re.search("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\x00-\x08\x0b-\x1f\x7f-\x9f]", text), page
        if not page.endswith(".md"):
            assert not re.search(r"<script|<image|<foreignObject|href|onerror=", text), page
            continue
        flat = [child for token in reader.parse(text) for child in [token, *(token.children or [])]]
        html = [token.content.strip() for token in flat if "html" in token.type]
        assert html == [f"<!-- {charts.GENERATED} -->"], f"{page} has {html[1:]}"
        assert not [token for token in flat if token.type == "image" and "curves/" not in str(token.attrs["src"])]
        links = {str(token.attrs["href"]) for token in flat if token.type == "link_open"}
        good = r"(\.\./)?((README|cpu-[a-z]+)\.md|\.\./(submissions|records)/[\w./-]+|(curves|records)/[\w./-]+)"
        assert [link for link in links if not re.fullmatch(good, link)] == []
    shown = results["pages"]["cpu-logic.md"]
    assert "hostile-manifest" in shown and "alert(1" in shown and "@torvalds" not in shown  # as text


@pytest.mark.parametrize("name", [param("detect-verifier")])
def test_the_runs_of_a_session_look_alike(results: dict[str, Any], name: str) -> None:
    case = results["cases"][name]
    assert len(case["logs"]) == CASES[name].runs >= 2
    looks = []
    for log in case["logs"] + case["control_logs"]:
        seen = json.loads(re.search(r"(?m)^TRIED to tell runs apart: (.*)$", log)[1])
        # Numbers of mounts, devices and descriptors follow from what else goes on; names of folders may be random.
        seen["mounts"] = re.sub(r"(?m)^\d+ \d+ \d+:\d+ ", "", seen["mounts"])
        seen["supervisor"] = re.sub(r"supervise\(\d+,", "supervise(", seen["supervisor"])
        text = json.dumps(seen, indent=1, sort_keys=True)
        looks.append(re.sub(r"/nano-r1-\w+/", "/nano-r1-RANDOM/", text).splitlines())
    for other in looks[1:]:
        differs = [line for line in difflib.unified_diff(looks[0], other, lineterm="", n=0) if line[:1] in "+-"][2:]
        assert not differs, "; ".join(differs)


@pytest.mark.parametrize("name", [param("descriptors-to-harness")])
def test_the_session_leaves_nothing_behind(results: dict[str, Any], name: str) -> None:
    assert results["cases"][name]["got"] == "harmless"
    assert results["ledger_faults"] == []
    assert results["descriptors_left"] < 50
    assert results["peak_memory_mib"] < 4096


def test_every_defence_is_tried_in_the_default_tier() -> None:
    assert {CASES[name].defence for name in DEFAULT} == {case.defence for case in CASES.values()} - {"–"}


def test_every_folder_is_a_case_and_says_what_it_tries() -> None:
    folders = {path.parent.name for path in cheats.CHEATS.glob("*/train.py")}
    controlled = {"built-in-solver", "hidden-weights"}  # tests/test_control.py: they take the real track
    assert folders - controlled == {name for name, case in CASES.items() if case.source is None}
    assert len(folders) >= 50
    for case in CASES.values():
        kind = case.verdict.partition(":")[0]
        assert kind in {"no record", "not valid", "refused", "harmless", "honest"}, case.name
        assert kind == "refused" or case.tried, f"{case.name} need not show that it tried anything"


def test_the_page_lists_every_case() -> None:
    page = (ROOT / "docs" / "cheats.md").read_text(encoding="utf-8")
    for case in CASES.values():
        assert f"| `{case.name}` | {case.attack} |" in page, (
            f"{case.name}: run `python scripts/attack/cheats.py --page`"
        )
