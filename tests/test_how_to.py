"""The how-to pages do what they say: their code is taken from them and run."""

import re
import sys
import tomllib
import types
from pathlib import Path

import pytest

from harness.benchmarks.pinned import SourceError, load
from harness.benchmarks.question import LeftOut, Question
from harness.tasks.validate import validate
from harness.tracks import track as tracks
from harness.tracks.track import ROOT, Track

PAGES = ROOT / "docs" / "how-to"


def code(page: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (PAGES / page).read_text(encoding="utf-8"), flags=re.S)


def imported(monkeypatch, page: str) -> types.ModuleType:
    """The page's Python block as the module that its first line names."""
    block = code(page)[0]
    name = block.splitlines()[0].removeprefix("# ").removesuffix(".py").replace("/", ".")
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(block, page, "exec"), module.__dict__)
    return module


def test_add_a_task(monkeypatch):
    task = imported(monkeypatch, "add-a-task.md").Remainder()
    result = validate(task)
    assert result.gold_right == 1.0 and result.attacks_right == 0
    page = (PAGES / "add-a-task.md").read_text(encoding="utf-8").replace("\n", " ")
    assert f"{result.questions:,} gold answers score, {result.attacks:,} attacks do not" in page
    assert f"always answering `{result.best_constant}` is right {result.floor:.0%} of the time" in page


def test_add_a_benchmark(monkeypatch):
    module = imported(monkeypatch, "add-a-benchmark.md")
    row = {"ID": "chal-1", "question_concat": "Jo had 3 pens and lost 1. How many are left?", "Answer": "2.0"}
    question = module.BENCHMARK.convert(0, row)
    assert isinstance(question, Question) and (question.id, question.target) == ("svamp/chal-1", "2")
    assert isinstance(module.BENCHMARK.convert(0, row | {"Answer": "2.5"}), LeftOut)
    with pytest.raises(SourceError) as caught:
        load(module.SOURCE)
    quoted = re.search(r"`(svamp is not pinned: [^`…]*)…", (PAGES / "add-a-benchmark.md").read_text(encoding="utf-8"))
    assert str(caught.value).startswith(quoted[1])


def test_add_a_track():
    lines = (ROOT / "harness" / "tracks" / "cpu-logic.toml").read_text(encoding="utf-8").splitlines()
    (changes,), (suite, preload, wheel) = code("add-a-track.md", "diff"), code("add-a-track.md", "toml")
    assert tomllib.loads(wheel)["base"]["wheel"] == tracks.load("gpu-smol").base.wheel.model_dump()
    removed = [line[1:] for line in changes.splitlines() if line.startswith("-")]
    added = [line[1:] for line in changes.splitlines() if line.startswith("+")]
    for line in removed:
        assert lines.count(line) == 1, f"cpu-logic.toml no longer has the line {line!r}"
    for old, new in zip(removed, added, strict=True):
        lines[lines.index(old)] = new
    table = tomllib.loads("\n".join(lines))
    table["heldout"]["suites"] = tomllib.loads(suite)["heldout"]["suites"]
    table["budget"] |= tomllib.loads(preload)
    track = Track.model_validate(table)
    assert track.budget.preload[:2] == ["torch", "transformers"]
    assert track.id == "cpu-nim@1" and track.heldout.gates == {"nim": 950_000} and track.tasks == ["nim"]


def test_rent_a_gpu():
    """What a verification costs at most, of every GPU track, and the packages that set-up and page name alike."""
    page = (PAGES / "rent-a-gpu.md").read_text(encoding="utf-8")
    for name in (path.stem for path in (ROOT / "harness" / "tracks").glob("*.toml")):
        track = tracks.load(name)
        if track.hardware.kind == "gpu":
            runs = 2 * track.verdict.runs + 1  # of the submission, of the baseline, and the control run
            hours = runs * track.budget.seconds * track.hardware.gpus / 3600
            dollars = hours * track.hardware.usd_per_gpu_hour_cents / 100
            assert f"| {name} | {runs} | {hours:,.1f} | ${dollars:,.0f} |" in page
    machine = (ROOT / "scripts" / "machine.sh").read_text(encoding="utf-8")
    for words in ("ppa:deadsnakes/ppa", "python3.12 python3.12-venv python3.12-dev", "/etc/apparmor.d/nano-r1-bwrap"):
        assert words in page and words in machine


def test_every_link_of_the_documentation_leads_somewhere():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("baseline*/*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = []
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            path = target.split("#")[0]
            if path and not re.match(r"[a-z]+:", target) and not (page.parent / path).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken, "\n".join(broken)


def test_links_are_looked_for():
    assert Path(PAGES / "add-a-task.md").is_file() and "](" in (PAGES / "add-a-task.md").read_text(encoding="utf-8")
