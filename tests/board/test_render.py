"""The board's pages: the same bytes everywhere, and no file of somebody else's is touched."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from board_ledger import TRACK, BoardLedger, curves, make_record, page, section
from nano import nano, refused

from harness.board.render import front, render, rendered
from harness.board.standings import BoardError
from harness.ledger import record
from harness.ledger.entries import AnnouncedSubmission, Announcement
from harness.ledger.store import Ledger
from harness.ledger.techniques import TECHNIQUES
from harness.tracks.track import ROOT, load, names
from harness.verify.clock import utc_now
from harness.verify.close import abandon


def test_an_empty_ledger_has_pages_that_say_so(tmp_path: Path) -> None:
    pages = rendered(tmp_path)
    assert b"No record stands yet" in pages["README.md"] and b"No valid official record yet" in pages["cpu-logic.md"]
    assert not any(name.endswith(".svg") for name in pages)


def test_a_provisional_track_says_so(ledger: BoardLedger) -> None:
    track = load("cpu-logic").model_copy(update={"status": "provisional"})
    pages = rendered(ledger.folder, [track])
    assert all(b"rovisional" in pages[name] for name in ("README.md", "cpu-logic.md"))
    assert all(
        b"rovisional" not in data
        for data in rendered(ledger.folder, [track.model_copy(update={"status": "measured"})]).values()
    )


def test_a_provisional_track_without_a_record_is_named_and_has_no_page(ledger: BoardLedger) -> None:
    pages = rendered(ledger.folder)
    front = pages["README.md"].decode()
    (line,) = [line for line in front.splitlines() if line.startswith("Provisional, and without a record so far: ")]
    waiting = [track for track in map(load, names()) if track.status == "provisional"]
    assert waiting and all(f"`{track.id}` ({track.title})" in line for track in waiting)
    assert "cpu-logic" not in line and not any(f"{track.name}.md" in pages for track in waiting)


def test_the_page_of_a_gpu_track_names_its_gpus(empty: BoardLedger) -> None:
    track = load("8xh100-math")
    empty.add(make_record(track=track.id))
    text = rendered(empty.folder)[f"{track.name}.md"].decode()
    assert "The budget: 10800 s on 8 × H100-SXM." in text and "Provisional" in text


def test_rendering_is_the_same_bytes_in_another_process_and_place(ledger: BoardLedger, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "records"
    for folder in ("records", "baseline", "submissions"):
        shutil.copytree(tmp_path / folder, tmp_path / "elsewhere" / folder)
    program = (
        "import sys, hashlib, pathlib; from harness.board.render import rendered\n"
        "for name, data in rendered(pathlib.Path(sys.argv[1])).items(): print(name, hashlib.sha256(data).hexdigest())"
    )
    expected = "".join(f"{name} {hashlib.sha256(data).hexdigest()}\n" for name, data in rendered(ledger.folder).items())
    settings_of_others = {
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": "4",
        "TZ": "Asia/Tokyo",
        "LC_ALL": "C",
        "PATH": os.environ["PATH"],
    }
    found = subprocess.run(
        [sys.executable, "-c", program, str(moved)],
        env=settings_of_others,
        capture_output=True,
        encoding="utf-8",
        cwd=tmp_path,
    )
    assert found.stdout == expected, found.stderr
    assert str(tmp_path).encode() not in b"".join(rendered(ledger.folder).values())


def test_what_was_announced_and_abandoned_is_shown_with_its_reason(empty: BoardLedger) -> None:
    empty.add(make_record())
    assert "without a record" not in page(empty)
    digest = "0" * 64
    for day, submissions in ((2, ["lucky", "other"]), (3, ["lucky"])):
        promise = Announcement(
            id=f"try-{day}",
            created_utc=f"2026-01-0{day}T00:00:00Z",
            signer="verifier",
            track=TRACK.id,
            track_digest=digest,
            submissions=[AnnouncedSubmission(name=name, tree_sha256=digest) for name in submissions],
            runs=8,
            commitment_sha256=digest,
        )
        empty.ledger.announce(promise, empty.listed)
    abandon(empty.ledger, empty.listed, empty.ledger.open_announcements()[0], "lucky", "it was *slow* <b> | today")
    text = page(empty)
    shown = section(text, "Announced, without a record")
    assert "Of 3 sessions on this track" in shown
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in shown.splitlines() if line.startswith("| 2026")
    ]
    assert [(row[0], row[1], row[3], row[6]) for row in rows] == [
        (
            "2026-01-02",
            "[try-2](../records/log/try-2.json)",
            "lucky",
            f"abandoned on {utc_now()[:10]}: it was &#42;slow&#42; &#60;b&#62; &#124; today",
        ),
        ("2026-01-02", "[try-2](../records/log/try-2.json)", "other", "still open"),
        ("2026-01-03", "[try-3](../records/log/try-3.json)", "lucky", "still open"),
    ]


def test_the_board_of_this_repository_names_every_abandoned_session() -> None:
    text = (ROOT / "leaderboard" / "cpu-logic.md").read_text(encoding="utf-8")
    abandoned = [session for session in Ledger(ROOT / "records").state().sessions.values() if session.abandoned]
    assert len(abandoned) >= 3
    for session in abandoned:
        assert f"[{session.announcement.id}]" in text
        assert all(entry.reason in text for entry in session.abandoned.values())


def test_removing_a_record_changes_the_pages(ledger: BoardLedger) -> None:
    before = rendered(ledger.folder)
    index = ledger.folder / "index"
    index.write_text(
        "".join(line for line in index.read_text(encoding="utf-8").splitlines(True) if "_no-kl/" not in line),
        encoding="utf-8",
    )
    after = rendered(ledger.folder)
    assert b"**drop-groups**" not in after["README.md"] and b"Standing record: **baseline**" in after["README.md"]
    assert before["curves/cpu-logic.svg"] != after["curves/cpu-logic.svg"]
    assert "curves/2026-01-02_cpu-logic_no-kl.svg" in before.keys() - after.keys()


def test_importing_the_board_is_light() -> None:
    heavy = "{'matplotlib', 'jinja2', 'torch', 'scipy', 'pandas'}"
    program = f"import sys, harness.board.render; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT)}, capture_output=True, encoding="utf-8"
    )
    assert found.stdout == "[]\n", found.stderr


def test_a_tracks_ranked_records_are_printed_cheapest_first(ledger: BoardLedger) -> None:
    done = nano("leaderboard", "--top", "cpu-logic", "--ledger", ledger.folder)
    words = [words for line in done.stdout.splitlines() if (words := line.split()) and words[0].isdigit()]
    assert [row[:2] for row in words] == [["1", "no-kl"], ["2", "drop-groups"], ["3", "baseline"]], done
    assert "0.610" in done.stdout and not (ledger.folder.parent / "leaderboard").exists()
    done = nano("leaderboard", "--top", "cpu-deduction", "--ledger", ledger.folder)
    assert done.returncode == 0 and "no ranked record" in done.stdout
    refused(nano("leaderboard", "--top", "cpu-logik", "--ledger", ledger.folder), "cpu-logic")


def test_render_writes_removes_its_own_and_nothing_else(ledger: BoardLedger, tmp_path: Path) -> None:
    out = tmp_path / "leaderboard"
    written = render(ledger.folder, out)
    assert {path.relative_to(out).as_posix(): path.read_bytes() for path in written} == rendered(ledger.folder)
    (out / "curves/stale.svg").write_bytes((out / "curves/cpu-logic.svg").read_bytes())
    (out / "stale.md").write_bytes((out / "README.md").read_bytes())
    (out / "records/stale.md").write_bytes((out / "README.md").read_bytes())
    (out / "notes.md").write_text("mine\n", encoding="utf-8")
    (out / "curves/drawing.svg").write_text("<svg/>", encoding="utf-8")
    assert sorted(render(ledger.folder, out)) == sorted(written)
    left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert left == {*rendered(ledger.folder), "notes.md", "curves/drawing.svg"}


@pytest.mark.parametrize("kind", ["file", "link"])
def test_render_never_overwrites_what_it_did_not_write(ledger: BoardLedger, tmp_path: Path, kind: str) -> None:
    out, precious = tmp_path / "leaderboard", tmp_path / "precious.md"
    out.mkdir()
    precious.write_text("mine\n", encoding="utf-8")
    if kind == "file":
        shutil.copy(precious, out / "README.md")
    else:
        (out / "README.md").symlink_to(precious)
    with pytest.raises(BoardError, match="was not generated"):
        render(ledger.folder, out)
    assert precious.read_text(encoding="utf-8") == (out / "README.md").read_text(encoding="utf-8") == "mine\n"
    assert list(out.iterdir()) == [out / "README.md"]


@pytest.mark.parametrize("file", ["record.json", "record.json.sig", "curves.jsonl.xz"])
@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_damaged_record_is_named_and_nothing_is_written(
    ledger: BoardLedger, tmp_path: Path, file: str, damage: str
) -> None:
    path = ledger.folder / "2026-01-02_cpu-logic_no-kl" / file
    data = path.read_bytes()
    path.unlink()
    if damage == "changed":
        path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    with pytest.raises(BoardError, match="no-kl/" + ("record.json" if file.startswith("record") else file)):
        render(ledger.folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_record_of_an_unknown_track_is_refused(empty: BoardLedger) -> None:
    empty.add(make_record(track="gpu-dreams@1"))
    with pytest.raises(BoardError, match="gpu-dreams@1"):
        rendered(empty.folder)


def test_code_is_linked_only_where_a_submission_lives(empty: BoardLedger) -> None:
    empty.add(make_record("sneaky", path="javascript:alert(1)"))
    empty.add(make_record("elsewhere", day=2))
    assert "javascript" not in page(empty) and "[code]" not in page(empty)
    (empty.folder.parent / "submissions" / "elsewhere").mkdir(parents=True)
    assert page(empty).count("[code](../submissions/elsewhere)") == 2  # the ranking, the history
    for name in ("baseline-gpu", "harness"):
        (empty.folder.parent / name).mkdir()
        empty.add(make_record(name, path=name, day=3))
    assert page(empty).count("[code](../baseline-gpu)") == 2 and "[code](../harness)" not in page(empty)


def test_a_record_has_a_page_that_says_where_its_recipe_comes_from(ledger: BoardLedger) -> None:
    home = "2026-01-02_cpu-logic_no-kl"
    origins = [
        {"based_on": home, "source": "arXiv:2402.03300", "techniques": ["no-kl", "muon"]},
        {"based_on": "baseline", "source": "https://x.example/a_b/c#L1"},
        {"based_on": "gone", "techniques": ["a-name-of-later"]},
    ]
    for day, origin in enumerate(origins, 5):
        ledger.add(make_record(f"from-{day}", 0.7, day, **origin), curve=curves(8, 90, day))
    table = section(page(ledger), "Where recipes come from")
    assert [line for line in table.splitlines() if line.startswith("| from")] == [
        f"| from-5 | [2026-01-02&#95;cpu-logic&#95;no-kl](records/{home}.md) "
        "| [arXiv&#58;2402.03300](https://arxiv.org/abs/2402.03300) | no-kl, muon |",
        "| from-6 | [baseline](../baseline) | [x&#46;example/a&#95;b/c＃L1](https://x.example/a_b/c#L1) | – |",
        "| from-7 | gone | – | a-name-of-later |",
    ]
    pages = {name: data.decode() for name, data in rendered(ledger.folder).items() if name.startswith("records/")}
    made = pages["records/2026-01-05_cpu-logic_from-5.md"]
    assert f"based on [2026-01-02&#95;cpu-logic&#95;no-kl](../records/{home}.md);" in made
    assert f"- `muon`: {TECHNIQUES['muon']}" in made and "[code](../../" not in made
    assert "[code](../../submissions/no-kl)" in pages[f"records/{home}.md"]
    assert "Where the recipe" not in pages[f"records/{home}.md"]
    assert "Not ranked: self-reported" in pages["records/2026-01-04_cpu-logic_mine.md"]


def test_a_records_page_says_what_each_share_of_the_gate_cost(empty: BoardLedger) -> None:
    """Eight runs of 150 s whose accuracy at step s is s hundredths: 256 completions a step, a window of four steps."""
    steps = [
        {"run": run, "t_ms": 1500 * step, "completions": 256, "correct": 256 * step // 100, "tasks": {}}
        for run in range(8)
        for step in range(1, 81 if run else 101)
    ]
    data = lzma.compress("".join(json.dumps(step) + "\n" for step in steps).encode())
    empty.add(make_record(), curve=data)
    text = rendered(empty.folder)["records/2026-01-01_cpu-logic_baseline.md"].decode()
    rows = [line for line in section(text, "On the way to the gate").splitlines() if line.startswith("| ")][1:]
    assert rows[0] == "| 50% | 45% | 8 of 8 | 0.470 | 70.5 | 12,032 |"  # steps 44 to 47 are 45% right or more
    assert rows[3:] == ["| 80% | 72% | 8 of 8 | 0.740 | 111.0 | 18,944 |", *(
        f"| {share}% | {share * 9 / 10:g}% | 1 of 8 | – | – | – |" for share in (90, 100)
    )]  # fmt: skip
    assert "no held-out result" in text and "decides nothing" in text


def test_suites_without_a_gate_have_a_table_of_their_own(ledger: BoardLedger) -> None:
    page = rendered(ledger.folder)["cpu-logic.md"].decode()
    section = page.partition("## Beyond what was trained on")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    reported = [suite.task for suite in TRACK.heldout.suites if suite.gate_ppm is None]
    assert table[0] == f"| Submission | {' | '.join(reported)} |" and "nim-hard" in reported
    assert table[1] == f"|---|{'---:|' * len(reported)}"
    assert len(table) == 2 + page.count("[record]", 0, page.index("## Beyond")) and "| no-kl | 50.2% |" in section


def test_fixed_benchmarks_have_a_table_with_the_control_run_beside_each(empty: BoardLedger) -> None:
    def interval(low: int, mean: int, high: int) -> record.Interval:
        return record.Interval(low=low, mean=mean, high=high)

    scores = {
        "gsm8k": record.BenchmarkScore(
            accuracy_ppm=interval(300_000, 312_000, 324_000), control_ppm=interval(290_000, 301_000, 312_000)
        ),
        "math-500": record.BenchmarkScore(accuracy_ppm=interval(90_000, 100_000, 110_000), control_ppm=None),
    }
    assert "Fixed benchmarks" not in page(empty)
    for day, (name, benchmarks) in enumerate(
        {"with": scores, "fewer": {"gsm8k": scores["gsm8k"]}, "without": None}.items()
    ):
        made = make_record(name, 1.0 + day, day + 1)
        empty.add(made.model_copy(update={"predicate": made.predicate.model_copy(update={"benchmarks": benchmarks})}))
    table = [line for line in section(page(empty), "Fixed benchmarks").splitlines() if line.startswith("|")]
    assert table == [
        "| Submission | gsm8k | control run | math-500 | control run |",
        "|---|---:|---:|---:|---:|",
        "| with | 31.2% ± 1.2 | 30.1% ± 1.1 | 10.0% ± 1.0 | – |",
        "| fewer | 31.2% ± 1.2 | 30.1% ± 1.1 | – | – |",
    ]


def test_the_projects_readme_carries_the_front_pages_table() -> None:
    readme = "# p\n\n<!-- board:start -->\nold\n<!-- board:end -->\n\nmore\n"
    table = "| a | b |\n|---|---|\n| 1 | 2 |\n"
    page = f"# Board\n\n## One\ntext\n{table}more text\n\n## Two\n\n{table}\n## Three\n\nNo record stands yet.\n"
    board = f"**One**\n\n{table}\n**Two**\n\n{table}"
    expected = f"# p\n\n<!-- board:start -->\n{board}<!-- board:end -->\n\nmore\n"
    assert front(readme, page) == expected
    assert front(expected, page) == expected
    assert front("no markers\n", page) == "no markers\n"
    assert "No record stands yet." in front(readme, "no table\n")
