"""The board: what it ranks, what it shows apart, what it escapes, and that it is the same bytes everywhere."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import lzma
import math
import os
import random
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.board import charts
from harness.board.render import Board, RenderError, board, entries, front, plain, ranks, render, rendered
from harness.ledger import record, signature, trust
from harness.ledger.entries import Announced, Commitment, status_change
from harness.ledger.store import Ledger
from harness.tracks import track as tracks

ROOT = Path(__file__).resolve().parents[2]
TASKS = ["countdown", "josephus", "linear", "nim"]
HEX = "0" * 64
TRACK = tracks.load("cpu-logic")


# ---------------------------------------------------------------- a ledger to render, made of real records


@functools.cache
def curves(runs: int, seconds: float, seed: int) -> bytes:
    """Five hundred posts or so of a model that learns, a little differently in each run."""
    draw, lines = random.Random(seed), []
    for run in range(runs):
        end = seconds * draw.uniform(0.95, 1.05)
        for step in range(1, 101):
            tasks = {}
            for i, task in enumerate(TASKS):
                chance = 0.17 + 0.78 / (1 + math.exp(-(step - 35 - 9 * i) / 8)) * (1 - 0.03 * i)
                tasks[task] = [64, sum(draw.random() < chance for _ in range(64))]
            correct = sum(pair[1] for pair in tasks.values())
            post: dict[str, Any] = {
                "run": run,
                "t_ms": int(end * 10 * step) + 4000,
                "completions": 256,
                "correct": correct,
            }
            post |= {"formatted": 250, "tokens": 6000, "tasks": tasks}
            lines.append(json.dumps(post) + "\n")
    return lzma.compress("".join(lines).encode())


def make_record(
    name: str = "baseline", cost: float = 1.0, day: int = 1, runs: int = TRACK.verdict.runs, **changes: Any
) -> record.Record:
    """A valid record of that relative cost. `changes` replace fields of the predicate, submission or verdict."""
    seconds = 150 * cost
    results = {
        task: record.TaskResult(questions=1024, correct=950, formatted=1020, truncated=1, tokens=30000)
        for task in TASKS
    }
    results |= {f"{task}-hard": results[task].model_copy(update={"correct": 512 + day}) for task in TASKS}
    each = [
        record.Run(
            run=i, seed=i, started_utc=f"2026-01-{day:02}T00:00:00Z", wall_ms=int(seconds * 1000) + 4700 + 900 * i,
            cpu_ms=200_000, peak_memory_bytes=900_000_000 + i, prompts=3200, reward_queries=25_600,
            sampled_tokens=614_400, weights_sha256=HEX, evaluate_ms=20_000, tasks=results,
        )
        for i in range(runs)
    ]  # fmt: skip
    ppm, spread = int(cost * 1e6), 20_000 if runs > 1 else 0
    gate = record.GateTest(
        gate_ppm=900_000, accuracy_ppm=record.Interval(low=924_000, mean=927_734, high=931_000), sigma_ppm=3000, p_ppb=9
    )
    verdict: dict[str, Any] = {
        "gates": {"mean": gate} | {task: gate.model_copy(update={"gate_ppm": 750_000}) for task in TASKS},
        "relative_cost_ppm": record.Interval(low=ppm - spread, mean=ppm, high=ppm + spread),
        "standing": None, "standing_p_ppb": None, "valid": True, "record": True, "reasons": [],
    }  # fmt: skip
    said: dict[str, Any] = {
        "name": name, "path": "baseline" if name == "baseline" else f"submissions/{name}", "tree_sha256": HEX,
        "title": f"The {name}", "change": "one thing", "contributors": ["Ada Lovelace"],
    }  # fmt: skip
    predicate: dict[str, Any] = {
        "track": TRACK.id, "track_digest": HEX, "created_utc": f"2026-01-{day:02}T01:00:00Z", "signer": "verifier",
        "isolation": "full", "isolation_checks": {}, "runs": each, "files": {},
        "commitment": record.Commitment(entry="c-1", commitment_sha256=HEX, root_hex=HEX, nonce_hex=HEX),
        "machine": record.Machine(cpu="any", cores=2, memory_bytes=2**33, kernel="Linux 6", python="3", packages={}),
        "reference": record.Reference(tree_sha256=HEX, wall_ms=[150_000] * runs),
    }  # fmt: skip
    for field, value in changes.items():
        next(part for part in (verdict, said, predicate) if field in part)[field] = value
    return record.Record(
        subject=[record.Subject(name=name, digest={"sha256": HEX})],
        predicate=record.Predicate(
            submission=record.Submission(**said), verdict=record.Verdict(**verdict), **predicate
        ),
    )  # fmt: skip


class Shelf:
    """A real ledger with one listed signer, and a key that nobody listed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger(folder)
        folder.mkdir()
        keys = folder.parent / "keys"
        line = signature.generate(keys / "listed", "verifier")
        signature.generate(keys / "unlisted", "somebody")
        self.listed, self.unlisted = signature.load_key(keys / "listed"), signature.load_key(keys / "unlisted")
        window = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
        (folder / "allowed_signers").write_text(trust.allowed_line(line, "verifier", *window) + "\n")
        self.sessions = 0

    def add(
        self, one: record.Record, *, official: bool = True, curve: bytes | None = None, against: str | None = "standing"
    ) -> Path:
        """Announce, sign and append the record. `curve`: its curves.jsonl.xz. `against`: judged against what stands."""
        key = self.listed if official else self.unlisted
        files = {} if curve is None else {"curves.jsonl.xz": curve, "log.txt.xz": lzma.compress(b"step 1\n")}
        said = one.predicate
        self.sessions += 1
        secret = {"root_hex": f"{self.sessions:064x}", "nonce_hex": HEX}
        digest = hashlib.sha256(bytes.fromhex("".join(secret.values()))).hexdigest()
        opened = record.Commitment(entry=f"s{self.sessions}", commitment_sha256=digest, **secret)
        promise = Commitment(
            id=opened.entry,
            created_utc=said.created_utc,
            signer=key.identity,
            track=said.track,
            track_digest=said.track_digest,
            submissions=[Announced(name=said.submission.name, tree_sha256=said.submission.tree_sha256)],
            runs=len(said.runs),
            commitment_sha256=digest,
        )
        self.ledger.commit(promise, key)
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        opponent = self.ledger.standing(said.track) if against == "standing" else against
        verdict = said.verdict.model_copy(update={"standing": opponent})
        said = said.model_copy(update={"files": hashes, "commitment": opened, "signer": key.identity})
        said = said.model_copy(update={"verdict": verdict})
        return self.ledger.add_record(one.model_copy(update={"predicate": said}), files, key)


@pytest.fixture
def empty(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "records")


@pytest.fixture
def ledger(empty: Shelf) -> Shelf:
    """The baseline, a better record, a valid one in its noise, and a self-reported one; the code of two beside it."""
    for code in ("baseline", "submissions/no-kl"):
        (empty.folder.parent / code).mkdir(parents=True)
    empty.add(make_record(day=1), curve=curves(8, 150, 1))
    empty.add(make_record("no-kl", 0.61, 2, standing_p_ppb=3_968_254), curve=curves(8, 92, 2))
    objection = "relative cost is not below the standing record's"
    empty.add(make_record("drop-groups", 0.64, 3, record=False, reasons=[objection]), curve=curves(8, 96, 3))
    empty.add(make_record("mine", 0.3, 4), official=False, curve=curves(8, 45, 4))
    return empty


def page(ledger: Shelf) -> str:
    return rendered(ledger.folder)["cpu-logic.md"].decode().replace("\u00a0", " ")


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]


def sorted_out(ledger: Shelf) -> Board:
    return board(tracks.load("cpu-logic"), entries(ledger.folder))


# ---------------------------------------------------------------- who stands where


def test_ranks_valid_official_records_by_cost_and_marks_overlap(ledger: Shelf) -> None:
    one = sorted_out(ledger)
    assert [entry.predicate.submission.name for entry in one.ranked] == ["no-kl", "drop-groups", "baseline"]
    assert ranks(one.ranked) == ["1", "2 ≈", "3"]
    rows = [line for line in section(page(ledger), "Ranking").splitlines() if line.startswith("| ")][1:]
    assert [re.split(r" *\| *", row)[1:4] for row in rows] == [
        ["1", "no-kl", "0.610 (0.590–0.630)"],
        ["2 ≈", "drop-groups", "0.640 (0.620–0.660)"],
        ["3", "baseline", "1.000 (0.980–1.020)"],
    ]
    assert "| 99.3 ± 2.2 | 92.8% ± 0.4 | 25,600 | 0.61 M | 0.84 GiB | 2026-01-02 |" in rows[0]
    assert "[code](../submissions/no-kl) [record](../records/2026-01-02_cpu-logic_no-kl/record.json)" in rows[0]
    assert (
        "[log](../records/2026-01-02_cpu-logic_no-kl/log.txt.xz) [curve](curves/2026-01-02_cpu-logic_no-kl.svg)"
        in rows[0]
    )
    assert "[code](../baseline)" in rows[2]


def test_history_is_in_date_order_and_says_which_were_records(ledger: Shelf) -> None:
    rows = section(page(ledger), "History").splitlines()
    rows = [row for row in rows if row.startswith("| 2026")]
    assert ["baseline" in rows[0], "no-kl" in rows[1], "drop-groups" in rows[2]] == [True] * 3 and len(rows) == 3
    assert "**record**" in rows[0] and "0.0040" in rows[1] and "no: relative cost is not below" in rows[2]


def test_the_front_page_names_the_standing_record(ledger: Shelf) -> None:
    front = rendered(ledger.folder)["README.md"].decode()
    assert "Standing record: **no-kl**" in front and "(cpu-logic.md)" in front and "curves/cpu-logic.svg" in front
    assert "mine" not in front


@pytest.mark.parametrize(
    ("changes", "official", "reason"),
    [
        ({}, False, "self-reported"),
        ({"day": 31, "created_utc": "2026-02-02T00:00:00Z"}, True, "self-reported"),
        ({"isolation": "none"}, True, "without isolation"),
        ({"runs": 1}, True, "1 of 8 runs"),
        ({"track": "cpu-logic@9999"}, True, "made on another version"),
        (
            {"valid": False, "record": False, "reasons": ["nim accuracy is not above the gate"]},
            True,
            "nim accuracy is not",
        ),
    ],
)
def test_shows_apart_what_is_not_official_or_not_valid(
    ledger: Shelf, changes: dict[str, Any], official: bool, reason: str
) -> None:
    ledger.add(make_record("other", 0.2, **{"day": 9, **changes}), official=official)
    text = page(ledger)
    apart = section(text, "Apart")
    assert any("| other |" in line and reason in line for line in apart.splitlines())
    assert "| other |" not in section(text, "Ranking") + section(text, "History")
    assert "Standing record: **no-kl**" in text


def test_one_run_has_no_interval(empty: Shelf) -> None:
    empty.add(make_record("quick", 0.9, runs=1))
    row = next(line for line in section(page(empty), "Apart").splitlines() if "| quick |" in line)
    assert "| 1 | 0.900 |" in row


def test_an_empty_ledger_has_pages_that_say_so(tmp_path: Path) -> None:
    pages = rendered(tmp_path)
    assert b"No record stands yet" in pages["README.md"] and b"No valid official record yet" in pages["cpu-logic.md"]
    assert not any(name.endswith(".svg") for name in pages)


def test_a_provisional_track_says_so(ledger: Shelf) -> None:
    track = tracks.load("cpu-logic").model_copy(update={"status": "provisional"})
    pages = rendered(ledger.folder, [track])
    assert all(b"rovisional" in pages[name] for name in ("README.md", "cpu-logic.md"))
    assert all(
        b"rovisional" not in data
        for data in rendered(ledger.folder, [track.model_copy(update={"status": "measured"})]).values()
    )


def test_a_provisional_track_without_a_record_is_named_and_has_no_page(ledger: Shelf) -> None:
    pages = rendered(ledger.folder)
    front = pages["README.md"].decode()
    (line,) = [line for line in front.splitlines() if line.startswith("Provisional, and without a record so far: ")]
    waiting = [track for track in map(tracks.load, tracks.names()) if track.status == "provisional"]
    assert waiting and all(f"`{track.id}` ({track.title})" in line for track in waiting)
    assert "cpu-logic" not in line and not any(f"{track.name}.md" in pages for track in waiting)


def test_the_page_of_a_gpu_track_names_its_gpus(empty: Shelf) -> None:
    track = tracks.load("8xh100-math")
    empty.add(make_record(track=track.id))
    text = rendered(empty.folder)[f"{track.name}.md"].decode()
    assert "The budget: 10800 s on 8 × H100-SXM." in text and "Provisional" in text


@pytest.mark.parametrize("status", ["disputed", "withdrawn", "superseded"])
def test_a_record_whose_status_changed_is_shown_apart_with_rule_and_reason(ledger: Shelf, status: str) -> None:
    home = "2026-01-02_cpu-logic_no-kl"
    why = "see [this](http://x.example) <b>|</b> @them"
    moment = datetime(2026, 1, 20, tzinfo=UTC)
    ledger.ledger.set_status(status_change(home, status, "R13", why, "verifier", moment), ledger.listed)
    text = page(ledger)
    (row,) = [line for line in section(text, "Disputed, withdrawn or superseded").splitlines() if "no-kl" in line]
    assert f"**{status}** under R13: " in row and "http://x.example" not in row and "<b>" not in row
    assert "| no-kl |" not in section(text, "Ranking") + section(text, "History") + section(text, "Apart")
    assert "Standing record: **baseline**" in text  # what stood before it
    assert f"curves/{home}.svg" in rendered(ledger.folder)
    ledger.ledger.set_status(status_change(home, "verified", "R13", "cleared", "verifier", moment), ledger.listed)
    assert "Standing record: **no-kl**" in page(ledger) and "withdrawn or superseded" not in page(ledger)


def test_a_record_that_was_tested_against_another_is_ranked_but_is_no_record(ledger: Shelf) -> None:
    ledger.add(make_record("late", 0.2, 9), against=None)
    text = page(ledger)
    assert "Standing record: **no-kl**" in text and "| 1 | late |" in section(text, "Ranking")
    row = next(line for line in section(text, "History").splitlines() if "| late |" in line)
    assert "no: tested against nothing on another branch" in row


def test_records_of_a_revoked_key_are_shown_apart(ledger: Shelf) -> None:
    (ledger.folder / "revoked_keys").write_text(f"{ledger.listed.public}\n")
    text = page(ledger)
    assert section(text, "Apart").count("its key was revoked") == 3 and "No record stands yet" in text


# ---------------------------------------------------------------- the same bytes


def test_rendering_is_the_same_bytes_in_another_process_and_place(ledger: Shelf, tmp_path: Path) -> None:
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
        text=True,
        cwd=tmp_path,
    )
    assert found.stdout == expected, found.stderr
    assert str(tmp_path).encode() not in b"".join(rendered(ledger.folder).values())


def test_removing_a_record_changes_the_pages(ledger: Shelf) -> None:
    before = rendered(ledger.folder)
    index = ledger.folder / "index"
    index.write_text("".join(line for line in index.read_text().splitlines(True) if "_no-kl/" not in line))
    after = rendered(ledger.folder)
    assert b"**drop-groups**" not in after["README.md"] and b"Standing record: **baseline**" in after["README.md"]
    assert before["curves/cpu-logic.svg"] != after["curves/cpu-logic.svg"]
    assert "curves/2026-01-02_cpu-logic_no-kl.svg" in before.keys() - after.keys()


def test_importing_the_board_is_light() -> None:
    heavy = "{'matplotlib', 'jinja2', 'torch', 'scipy', 'pandas'}"
    program = f"import sys, harness.board.render; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert found.stdout == "[]\n", found.stderr


# ---------------------------------------------------------------- writing


def test_render_writes_removes_its_own_and_nothing_else(ledger: Shelf, tmp_path: Path) -> None:
    out = tmp_path / "leaderboard"
    written = render(ledger.folder, out)
    assert {path.relative_to(out).as_posix(): path.read_bytes() for path in written} == rendered(ledger.folder)
    (out / "curves/stale.svg").write_bytes((out / "curves/cpu-logic.svg").read_bytes())
    (out / "stale.md").write_bytes((out / "README.md").read_bytes())
    (out / "notes.md").write_text("mine\n")
    (out / "curves/drawing.svg").write_text("<svg/>")
    assert sorted(render(ledger.folder, out)) == sorted(written)
    left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert left == {*rendered(ledger.folder), "notes.md", "curves/drawing.svg"}


@pytest.mark.parametrize("kind", ["file", "link"])
def test_render_never_overwrites_what_it_did_not_write(ledger: Shelf, tmp_path: Path, kind: str) -> None:
    out, precious = tmp_path / "leaderboard", tmp_path / "precious.md"
    out.mkdir()
    precious.write_text("mine\n")
    if kind == "file":
        shutil.copy(precious, out / "README.md")
    else:
        (out / "README.md").symlink_to(precious)
    with pytest.raises(RenderError, match="was not generated"):
        render(ledger.folder, out)
    assert precious.read_text() == (out / "README.md").read_text() == "mine\n"
    assert list(out.iterdir()) == [out / "README.md"]


@pytest.mark.parametrize("file", ["record.json", "record.json.sig", "curves.jsonl.xz"])
@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_damaged_record_is_named_and_nothing_is_written(
    ledger: Shelf, tmp_path: Path, file: str, damage: str
) -> None:
    path = ledger.folder / "2026-01-02_cpu-logic_no-kl" / file
    data = path.read_bytes()
    path.unlink()
    if damage == "changed":
        path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    with pytest.raises(RenderError, match="no-kl/" + ("record.json" if file.startswith("record") else file)):
        render(ledger.folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_record_of_an_unknown_track_is_refused(empty: Shelf) -> None:
    empty.add(make_record(track="gpu-dreams@1"))
    with pytest.raises(RenderError, match="gpu-dreams@1"):
        rendered(empty.folder)


# ---------------------------------------------------------------- hostile text

HOSTILE = [
    "a | b", r"\| c \\| d", "`code`", "[x](https://evil.example)", "![i](x.png)", "<img src=x onerror=1>",
    "<!-- c -->", "&lt;b&gt; &#60;", "@everyone", "me@evil.example", "#1 fixes owner/repo#2", "https://evil.example",
    "www.evil.example", "www.1.com", "**bold** _it_ ~~gone~~", "$$\\int$$", "a\u202eb\u200bc\ufeff\U000e0041",
    "x\u2028y\u0085z", "- list", "1. one", "2) two", ": :---: :", "[^1]", "{{ 7 * 7 }}", "</desc><script>", "\\",
    "\\\\|", "\ud7ff\ue000", "lr 3.5e-4, 0.5 x", "e.g. A.B.C",
]  # fmt: skip


def readers() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def assert_is_only_text(markdown: str) -> str:
    """The markdown parses to text and nothing else; returns that text."""
    (inline,) = readers().parseInline(markdown)
    assert {token.type for token in inline.children or []} <= {"text", "text_special"}, markdown
    text = "".join(token.content for token in inline.children or [])
    assert not re.search(r"://|(?i:www\.)|(?i:mailto:)", markdown)
    assert "@" not in text and "#" not in text
    assert not re.search("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f\x00-\x1f\x7f-\x9f]", text)
    return text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_examples_are_only_text(text: str) -> None:
    assert_is_only_text(plain(text))


@given(st.text(max_size=60) | st.text(alphabet="\\|`*_[]()<>!&#@:/.~$ -+w1a{}'\"", max_size=30))
@settings(max_examples=400, deadline=None)
def test_any_text_is_only_text_and_survives(text: str) -> None:
    read = assert_is_only_text(plain(text))
    ascii_only = "".join(c for c in text if " " <= c <= "~")
    if text == ascii_only and text.strip():
        assert read == " ".join(text.replace("@", "\uff20").replace("#", "\uff03").split())


@given(st.lists(st.text(max_size=40) | st.sampled_from(HOSTILE), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_a_table_of_hostile_text_keeps_its_cells(texts: list[str]) -> None:
    table = "| a | b |\n|---|---|\n" + "".join(f"| {plain(text)} | **{plain(text)}** — x |\n" for text in texts)
    tokens = readers().parse(table)
    assert sum(token.type == "td_open" for token in tokens) == 2 * len(texts)
    assert sum(token.type == "strong_open" for token in tokens for token in token.children or []) == len(texts)
    assert not any("html" in token.type or "link" in token.type for token in tokens)


def test_the_pages_of_a_hostile_ledger_hold_only_our_own_structure(empty: Shelf) -> None:
    for i, text in enumerate(HOSTILE):
        clean = re.sub(r"[\x00-\x1f\x7f]", "", text)
        said: dict[str, Any] = {"title": clean, "change": clean, "contributors": [clean, clean], "reasons": [clean]}
        empty.add(make_record(f"h{i}", 1 - i / 100, i % 28 + 1, record=i % 2 == 0, **said), official=i % 3 > 0)
    pages = rendered(empty.folder)
    for name in ("README.md", "cpu-logic.md"):
        tokens = readers().parse(pages[name].decode())
        flat = [child for token in tokens for child in [token, *(token.children or [])]]
        assert [token.content.strip() for token in flat if "html" in token.type] == [f"<!-- {charts.GENERATED} -->"]
        links = {str(token.attrs["href"]) for token in flat if token.type == "link_open"}
        ours = r"(README|cpu-logic|cpu-deduction)\.md|\.\./(submissions|records)/[\w./-]+"
        assert all(re.fullmatch(ours, link) for link in links)
        for row in re.findall(r"(?m)(?:^\|.*\n)+", pages[name].decode()):
            (rows,) = [[t.type for t in readers().parse(row)].count("tr_open")]
            cells = [token.type for token in readers().parse(row)].count("td_open")
            assert cells % (rows - 1) == 0 and rows == row.count("\n") - 1
            assert {len(re.findall(r"(?<!\\)\|", line)) for line in row.splitlines()} == {
                row.splitlines()[0].count("|")
            }


def test_code_is_linked_only_where_a_submission_lives(empty: Shelf) -> None:
    empty.add(make_record("sneaky", path="javascript:alert(1)"))
    empty.add(make_record("elsewhere", day=2))
    assert "javascript" not in page(empty) and "[code]" not in page(empty)
    (empty.folder.parent / "submissions" / "elsewhere").mkdir(parents=True)
    assert page(empty).count("[code](../submissions/elsewhere)") == 2  # the ranking, the history
    for name in ("baseline-gpu", "harness"):
        (empty.folder.parent / name).mkdir()
        empty.add(make_record(name, path=name, day=3))
    assert page(empty).count("[code](../baseline-gpu)") == 2 and "[code](../harness)" not in page(empty)


def test_suites_without_a_gate_have_a_table_of_their_own(ledger: Shelf) -> None:
    page = rendered(ledger.folder)["cpu-logic.md"].decode()
    section = page.partition("## Beyond what was trained on")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    assert table[0] == "| Submission | countdown-hard | linear-hard | nim-hard | josephus-hard |"
    assert table[1] == "|---|---:|---:|---:|---:|"
    assert len(table) == 2 + page.count("[record]", 0, page.index("## Beyond")) and "| no-kl | 50.2% |" in section


def test_fixed_benchmarks_have_a_table_with_the_control_run_beside_each(empty: Shelf) -> None:
    def interval(low: int, mean: int, high: int) -> record.Interval:
        return record.Interval(low=low, mean=mean, high=high)

    scores = {
        "gsm8k": record.BenchmarkScore(
            accuracy_ppm=interval(300_000, 312_000, 324_000), control_ppm=interval(290_000, 301_000, 312_000)
        ),
        "math-500": record.BenchmarkScore(accuracy_ppm=interval(90_000, 100_000, 110_000), control_ppm=None),
    }
    assert "Fixed benchmarks" not in page(empty)
    for day, (name, told) in enumerate({"with": scores, "fewer": {"gsm8k": scores["gsm8k"]}, "without": None}.items()):
        one = make_record(name, 1.0 + day, day + 1)
        empty.add(one.model_copy(update={"predicate": one.predicate.model_copy(update={"benchmarks": told})}))
    table = [line for line in section(page(empty), "Fixed benchmarks").splitlines() if line.startswith("|")]
    assert table == [
        "| Submission | gsm8k | control run | math-500 | control run |",
        "|---|---:|---:|---:|---:|",
        "| with | 31.2% ± 1.2 | 30.1% ± 1.1 | 10.0% ± 1.0 | – |",
        "| fewer | 31.2% ± 1.2 | 30.1% ± 1.1 | – | – |",
    ]


# ---------------------------------------------------------------- charts


def words(svg: bytes) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_record_chart_has_its_panels_lines_and_gate(ledger: Shelf) -> None:
    svg = rendered(ledger.folder)["curves/2026-01-02_cpu-logic_no-kl.svg"]
    labels = words(svg)
    assert labels[0] == f"no-kl · {TRACK.id}"
    assert {"all tasks", *TASKS, "gate 90%", "gate 75%", "training accuracy", "seconds on the harness's clock"} <= set(
        labels
    )
    lines = [e.get("class") for e in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}polyline")]
    assert lines.count("run c0") == 8 * 5 and lines.count("line c0") == 5
    assert svg.count(b"<circle") == 8 * 5


def test_a_track_chart_labels_each_record_once_and_leaves_the_self_reported_out(ledger: Shelf) -> None:
    svg = rendered(ledger.folder)["curves/cpu-logic.svg"]
    labels = words(svg)
    assert [labels.count(name) for name in ("no-kl", "drop-groups", "baseline", "mine")] == [1, 1, 1, 0]
    assert "relative cost 0.610 (0.590–0.630)" in labels and "gate 85%, held-out" in labels


def test_a_track_chart_of_many_records_stays_readable(empty: Shelf) -> None:
    for i in range(10):
        empty.add(make_record(f"s{i}", 1 - i / 20, i + 1), curve=curves(2, 150 - i * 7, i))
    svg = rendered(empty.folder)["curves/cpu-logic.svg"]
    assert "grey: 3 more" in words(svg) and svg.count(b'class="other"') == 3


def test_everything_stays_inside_the_picture(ledger: Shelf) -> None:
    for name, svg in rendered(ledger.folder).items():
        if name.endswith(".svg"):
            root = ElementTree.fromstring(svg)
            width, height = float(root.get("width", 0)), float(root.get("height", 0))
            for line in root.iter("{http://www.w3.org/2000/svg}polyline"):
                for x, y in (map(float, pair.split(",")) for pair in line.get("points", "").split()):
                    assert 0 <= x <= width and 0 <= y <= height
            for text in root.iter("{http://www.w3.org/2000/svg}text"):
                assert 0 <= float(text.get("x", 0)) <= width and 0 <= float(text.get("y", 0)) <= height


def post(t_ms: int, completions: int, correct: int, **tasks: list[int]) -> charts.Post:
    return charts.Post(run=0, t_ms=t_ms, completions=completions, correct=correct, tasks=tasks)


def test_smoothing_by_hand() -> None:
    posts = [post(1000, 512, 0, nim=[512, 0]), post(2000, 512, 512), post(3000, 512, 256, nim=[256, 64])]
    assert charts.smooth(posts, None) == [(1.0, 0.0), (2.0, 0.5), (3.0, 0.75)]  # the last has forgotten the first
    assert charts.smooth(posts, "nim") == [(1.0, 0.0), (2.0, 0.0), (3.0, 0.25)]
    assert charts.smooth([post(1000, 5000, 50), post(2000, 5000, 5000)], None) == [(1.0, 0.01), (2.0, 1.0)]
    assert charts.smooth([], None) == [] and charts.smooth(posts, "absent") == []


def test_the_median_line_by_hand() -> None:
    lines = [[(1.0, 0.0), (3.0, 1.0)], [(2.0, 0.2), (4.0, 0.2)], [(1.0, 0.6), (9.0, 0.6)]]
    assert charts.median(lines, 1.0) == [(2.0, 0.5), (3.0, 0.6), (4.0, 0.6)]


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=200, deadline=None)
def test_reading_curves_is_total(data: bytes, packed: bool) -> None:
    with contextlib.suppress(charts.ChartError):
        charts.read_curves(lzma.compress(data) if packed else data)


@pytest.mark.parametrize(
    "line",
    ['{"run":0}', '{"run":0,"t_ms":-1,"completions":1,"correct":1,"tasks":{}}', "[]", "NaN",
     '{"run":0,"t_ms":1,"completions":1,"correct":1,"tasks":{"nim":[1]}}',
     '{"run":0,"t_ms":1,"completions":1,"correct":2,"tasks":{}}',
     '{"run":0,"t_ms":1,"completions":1,"correct":1,"tasks":{"nim":[1,2]}}'],
)  # fmt: skip
def test_a_bad_line_of_curves_is_named(line: str) -> None:
    with pytest.raises(charts.ChartError, match="line 1"):
        charts.read_curves(lzma.compress(line.encode()))


def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "MAX_CURVES_BYTES", 1000)
    with pytest.raises(charts.ChartError, match="at most 1000 bytes"):
        charts.read_curves(lzma.compress(b"\n" * 10_000))


def test_a_control_runs_curve_is_not_drawn() -> None:
    """The median over nine would be of other runs than the accuracy beside it."""
    (ours,) = [one for one in entries(ROOT / "records") if one.folder == "2026-11-21_cpu-logic_baseline_4"]
    assert ours.predicate.control is not None
    assert [run[0].run for run in ours.curves] == [run.run for run in ours.predicate.runs]


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
