"""The loader against a Hub on this machine: the real huggingface_hub and datasets, real HTTP, every way to go wrong."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hub_standin import BIG, OTHER_TOKEN, TOKEN, Hub, Repository, parquet, reached
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from real_data import whole

from harness.benchmarks import (
    BENCHMARKS,
    NOT_PUBLIC,
    Source,
    SourceError,
    collect,
    gsm8k,
    humaneval,
    load,
    pin,
    remote,
    temporal_clue,
    unknown,
)
from harness.benchmarks.__main__ import main
from harness.benchmarks.aiw import SOURCE as AIW
from harness.benchmarks.ioi import TESTS
from harness.benchmarks.pinned import check, content
from harness.benchmarks.rows import read

DATA = Path(__file__).parents[1] / "data" / "benchmarks"
BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be, for a moment
REVISION = "0123456789abcdef0123456789abcdef01234567"
NEWER = "f" * 40
ROWS = [json.loads(line) for line in (DATA / "gsm8k_test.jsonl").read_text(encoding="utf-8").splitlines()]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def source(data: bytes, *, file: str = "test.jsonl", **changes: Any) -> Source:
    """GSM8K's source, but for the excerpt that the stand-in serves."""
    count, digest = content(ROWS, gsm8k.TEST_SOURCE.columns)
    small = replace(
        gsm8k.TEST_SOURCE, repo="owner/name", revision=REVISION, files={file: sha(data)}, rows=count, sha256=digest
    )
    return replace(small, **changes)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with reached(monkeypatch, tmp_path) as standin:
        yield standin


def serve(hub: Hub, data: bytes, *, file: str = "test.jsonl", gated: bool = False) -> None:
    hub.repositories["owner/name"] = Repository({REVISION: {file: data}}, gated)


def refused(pinned_source: Source) -> str:
    """The one sentence. It comes before the first row, and asks for something."""
    with pytest.raises(SourceError) as caught:
        load(pinned_source)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(pinned_source.name) and "Traceback" not in message
    return message


# ---------------------------------------------------------------- it loads


def test_parquet_through_the_real_libraries(hub: Hub) -> None:
    data = parquet(ROWS)
    serve(hub, data, file="main/test.parquet")
    assert list(load(source(data, file="main/test.parquet"))) == ROWS
    assert any(request.startswith("HEAD /datasets/owner/name/resolve/" + REVISION) for request in hub.requests)


def test_a_big_file_comes_by_way_of_a_redirect(hub: Hub) -> None:
    data = parquet(ROWS * 4)
    pinned_source = source(data, file="big.parquet", rows=len(ROWS) * 4, sha256=content(ROWS * 4, ROWS[0])[1])
    padded = lines([{**row, "more": os.urandom(1000).hex()} for row in ROWS])
    assert len(padded) > BIG
    serve(hub, padded)
    assert list(load(source(padded))) == ROWS  # columns that nobody asked for are not handed out
    assert any("/cdn/" in request for request in hub.requests)
    serve(hub, data, file="big.parquet")
    assert list(load(pinned_source)) == ROWS * 4


def test_several_files_are_read_in_the_order_of_the_source(hub: Hub) -> None:
    first, second = lines(ROWS[:7]), parquet(ROWS[7:])
    hub.repositories["owner/name"] = Repository({REVISION: {"a.jsonl": first, "b.parquet": second}})
    files = {"a.jsonl": sha(first), "b.parquet": sha(second)}
    assert list(load(replace(source(b""), files=files))) == ROWS
    with pytest.raises(SourceError, match="other content"):
        load(replace(source(b""), files=dict(reversed(files.items()))))


def test_what_is_in_the_cache_needs_no_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    data = lines(ROWS)
    serve(hub, data)
    load(source(data))
    hub.status, asked = 500, len(hub.requests)
    assert list(load(source(data))) == ROWS
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert list(load(source(data))) == ROWS
    assert len(hub.requests) == asked


def test_a_renamed_repository_redirects_and_the_content_is_still_checked(hub: Hub) -> None:
    data = lines(ROWS)
    hub.repositories["owner/new-name"] = Repository({REVISION: {"test.jsonl": data}})
    hub.renamed["owner/name"] = "owner/new-name"
    assert list(load(source(data))) == ROWS
    assert any("new-name" in request for request in hub.requests)


def test_a_gate_opens_to_a_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    data = lines(ROWS)
    serve(hub, data, gated=True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert list(load(source(data, gated=True))) == ROWS


def test_a_set_on_github_is_cached_by_commit(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    data = lines(ROWS)
    serve(hub, data, file="sub/test.jsonl")
    pinned_source = source(data, file="sub/test.jsonl", host="github")
    assert list(load(pinned_source)) == ROWS
    asked = len(hub.requests)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert list(load(pinned_source)) == ROWS
    assert len(hub.requests) == asked


def test_another_process_finds_the_mirror_from_its_environment(hub: Hub, tmp_path: Path) -> None:
    """HF_ENDPOINT is read when huggingface_hub is imported; a fresh process, as a user has it."""
    data = lines(ROWS)
    serve(hub, data)
    program = (
        "import sys, dataclasses\nfrom harness.benchmarks import gsm8k, load\n"
        f"s = dataclasses.replace(gsm8k.TEST_SOURCE, repo='owner/name', revision={REVISION!r}, "
        f"files={{'test.jsonl': {sha(data)!r}}}, rows={len(ROWS)}, sha256=None)\n"
        "assert 'datasets' not in sys.modules and 'huggingface_hub' not in sys.modules\n"
        "print(len(list(load(s))))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=False)
    assert done.stdout.strip() == str(len(ROWS)), done.stderr


# ---------------------------------------------------------------- it refuses


def test_offline_and_not_in_the_cache(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(hub, lines(ROWS))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for host in ("hub", "github"):
        message = refused(source(lines(ROWS), host=host))
        assert "HF_HUB_OFFLINE is set; unset it" in message
    assert not hub.requests


@pytest.mark.parametrize("host", ["hub", "github"])
def test_nobody_answers(hub: Hub, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    nowhere = "http://127.0.0.1:9"  # the discard port: nothing listens
    monkeypatch.setenv("HF_ENDPOINT", nowhere)
    monkeypatch.setattr(remote, "GITHUB", nowhere)
    message = refused(source(lines(ROWS), host=host))
    assert nowhere in message and "check the connection" in message


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("host", ["hub", "github"])
def test_the_server_is_unwell(hub: Hub, host: str, status: int) -> None:
    serve(hub, lines(ROWS))
    hub.status = status
    message = refused(source(lines(ROWS), host=host))
    assert "does not hand it out" in message and str(status) in message


def test_a_download_that_breaks_off_leaves_nothing_behind(hub: Hub, tmp_path: Path) -> None:
    data = lines(ROWS)
    serve(hub, data)
    for host in ("hub", "github"):
        hub.cut = 1000
        assert "does not hand it out" in refused(source(data, host=host))
        hub.cut = None
        assert list(load(source(data, host=host))) == ROWS
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["test.jsonl"]


@pytest.mark.parametrize("host", ["hub", "github"])
def test_a_damaged_copy_in_the_cache_says_which_file_to_delete(hub: Hub, tmp_path: Path, host: str) -> None:
    data = lines(ROWS)
    serve(hub, data)
    pinned_source = source(data, host=host)
    load(pinned_source)
    (copy,) = (
        path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == data and not path.is_symlink()
    )
    copy.chmod(0o644)
    copy.write_bytes(data[:-10])
    message = refused(pinned_source)
    named = re.search(r"delete (\S+) and load it again", message)
    assert named and Path(named[1]) == copy
    copy.unlink()
    assert list(load(pinned_source)) == ROWS


def test_gated_without_a_token(hub: Hub) -> None:
    data = lines(ROWS)
    serve(hub, data, gated=True)
    message = refused(source(data, gated=True))
    assert "gated; accept its terms at https://huggingface.co/datasets/owner/name" in message and "HF_TOKEN" in message


def test_a_token_without_access(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    data = lines(ROWS)
    serve(hub, data, gated=True)
    monkeypatch.setenv("HF_TOKEN", OTHER_TOKEN)
    assert "accept its terms" in refused(source(data, gated=True))


def test_a_token_that_is_none(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub refuses it even for what is public, so it must not sound like a broken connection."""
    data = lines(ROWS)
    serve(hub, data)
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    message = refused(source(data))
    assert "does not take the token in HF_TOKEN" in message and "Make a new one" in message


def test_a_repository_that_the_hub_disabled(hub: Hub) -> None:
    """As it did with hendrycks/competition_math."""
    serve(hub, lines(ROWS))
    hub.repositories["owner/name"].disabled = True
    assert "the Hub has disabled owner/name" in refused(source(lines(ROWS)))


def test_a_repository_that_is_gone(hub: Hub) -> None:
    message = refused(source(b""))
    assert "there is no owner/name" in message and "put its new name into the source" in message
    assert "accept its terms" in refused(source(b"", gated=True))  # to strangers a gated one looks the same


def test_a_commit_that_is_gone(hub: Hub) -> None:
    hub.repositories["owner/name"] = Repository({NEWER: {"test.jsonl": lines(ROWS)}})
    assert f"no longer has the commit {REVISION}" in refused(source(lines(ROWS)))


@pytest.mark.parametrize("host", ["hub", "github"])
def test_a_file_that_was_renamed(hub: Hub, host: str) -> None:
    serve(hub, lines(ROWS), file="renamed.jsonl")
    message = refused(source(lines(ROWS), host=host))
    assert "has no file test.jsonl" in message and f"/tree/{REVISION}" in message


@pytest.mark.parametrize("host", ["hub", "github"])
def test_other_bytes_than_were_pinned(hub: Hub, host: str) -> None:
    edited = lines([*ROWS[:-1], {**ROWS[-1], "answer": "#### 7"}])
    serve(hub, edited)
    message = refused(source(lines(ROWS), host=host))
    assert "is not the file that was pinned" in message and sha(edited) in message and "delete" in message


def test_edited_content_where_only_the_content_is_known(hub: Hub) -> None:
    edited = lines([*ROWS[:-1], {**ROWS[-1], "answer": "#### 7"}])
    serve(hub, edited)
    assert "other content" in refused(source(edited, files={"test.jsonl": None}))


def test_swapped_rows_are_other_content(hub: Hub) -> None:
    swapped = lines([ROWS[1], ROWS[0], *ROWS[2:]])
    serve(hub, swapped)
    assert "other content" in refused(source(swapped))


@pytest.mark.parametrize("rows", [ROWS[:-1], [*ROWS, ROWS[0]], []], ids=["short", "long", "empty"])
def test_another_number_of_rows(hub: Hub, rows: list[dict[str, Any]]) -> None:
    serve(hub, lines(rows))
    message = refused(source(lines(rows)))
    assert f"has {len(rows)} rows where {len(ROWS)} were pinned" in message


def test_a_renamed_column(hub: Hub) -> None:
    renamed = [{"question": row["question"], "solution": row["answer"]} for row in ROWS]
    for file, data in (("test.jsonl", lines(renamed)), ("test.parquet", parquet(renamed))):
        serve(hub, data, file=file)
        with pytest.raises(SourceError, match=r"no column 'answer', only question, solution; .* correct the source's"):
            load(source(data, file=file))


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("test.jsonl", b'{"question": "1", "ans'), ("test.jsonl", b"\xff\xfe\x00"), ("test.jsonl", b"[1, 2]\n"),
        ("test.json", b'{"question": "a"}'), ("test.json", b"[1, 2"), ("test.parquet", b"PAR1, but not really"),
        ("test.parquet", b""), ("test.jsonl.gz", b"no gzip"), ("test.jsonl.gz", gzip.compress(b"{}\n" * 99)[:-9]),
        ("test.csv", b'question,answer\n"a,b\n'), ("test.csv", b"question,answer\nonly one cell\n"),
        ("test.csv", b"question,answer\na,b,c\n"), ("test.jsonl", b"[" * 100_000), ("test.bin", b"x"),
    ],
    ids=range(14),
)  # fmt: skip
def test_a_file_that_is_no_such_thing(hub: Hub, file: str, data: bytes) -> None:
    pytest.importorskip("datasets", reason=remote.INSTALL)
    serve(hub, data, file=file)
    with pytest.raises(SourceError) as caught:
        load(source(data, file=file))
    assert re.search(r"delete it|correct the source|name another file", str(caught.value))


def test_without_huggingface_hub_the_message_names_the_extra(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as if it were not installed
    assert remote.INSTALL in refused(source(lines(ROWS)))


@pytest.mark.parametrize("name", ["a?b [c]", "[me]", "a::b", "*", "a*", "größe"])
def test_the_name_of_a_folder_is_no_pattern(tmp_path: Path, name: str) -> None:
    """A pattern matches its neighbours too: Parquet was read twice, or not found."""
    rows = [{"question": f"{i}", "answer": "a"} for i in range(3)]
    data = parquet(rows)
    for folder in (name, "axb c", "m", "a", "ab"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "test.parquet").write_bytes(data if folder == name else parquet(rows[:1]))
    assert list(read(tmp_path / name / "test.parquet", ("question", "answer"))) == rows


def test_without_datasets_parquet_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)  # as if `datasets`, which brings it, were not installed
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(SourceError, match=r"scripts/setup.sh tasks"):
        list(read(tmp_path / "a.parquet", ("x",)))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"revision": None}, "revision"), ({"revision": "main"}, "revision"), ({"revision": "0123456"}, "revision"),
        ({"rows": None}, "row count"), ({"sha256": None, "files": {"test.jsonl": None}}, "content hash"),
    ],
)  # fmt: skip
def test_what_is_not_pinned_is_refused_before_anything_is_fetched(hub: Hub, changes: dict[str, Any], what: str) -> None:
    serve(hub, lines(ROWS))
    message = refused(source(lines(ROWS), **changes))
    assert (
        f"not pinned: never seen here ({what} unknown" in message
        and "python -m harness.benchmarks pin gsm8k" in message
    )
    assert not hub.requests


# ---------------------------------------------------------------- pinning


@pytest.mark.parametrize("revision", [REVISION, None])
def test_pin_prints_what_makes_the_source_load(hub: Hub, revision: str | None) -> None:
    data = lines(ROWS)
    serve(hub, data)
    bare = source(data, revision=revision, files={"test.jsonl": None}, rows=None, sha256=None)
    printed: dict[str, Any] = eval(f"dict(\n{pin(bare)})")
    assert printed == {
        "revision": REVISION,
        "files": {"test.jsonl": sha(data)},
        "rows": len(ROWS),
        "sha256": content(ROWS, bare.columns)[1],
    }
    assert list(load(replace(bare, **printed))) == ROWS


def test_the_command_lists_and_pins(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in [*BENCHMARKS, *NOT_PUBLIC])
    assert re.search(r"^gpqa-diamond .* 198 rows .* gated, pinned$", listed, re.MULTILINE)
    assert re.search(
        r"^ioi .*\? rows .*not pinned: never seen here \(revision, row count, content hash unknown\)$",
        listed,
        re.MULTILINE,
    )
    assert re.search(r"^frontiermath +not public", listed, re.MULTILINE)
    assert main(["pin", "temporal-clue"]) == 2  # the stand-in does not have it
    shown = capsys.readouterr()
    assert shown.out == "" and "has no file puzzles/test.json" in shown.err and shown.err.count("\n") == 1


def test_pin_when_the_repository_is_gone_or_nobody_answers(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="there is no owner/name"):
        pin(source(b"", revision=None))
    hub.status = 503
    with pytest.raises(SourceError, match="does not hand it out"):
        pin(source(b"", revision=None))
    with pytest.raises(SourceError, match=r"name a commit of https://github\.com/owner/name"):
        pin(source(b"", revision=None, host="github"))


# ---------------------------------------------------------------- reading and hashing


def test_csv_keeps_what_a_guesser_would_lose(tmp_path: Path) -> None:
    cells = ["None", "NA", "", "007", "1e5", "2024-01-01", "true", 'a "quoted", one', "two\nlines"]
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([["x"], *([cell] for cell in cells if cell), [""]])
    assert [row["x"] for row in read(tmp_path / "a.csv", ("x",))] == [*filter(None, cells), ""]


ATOMS = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=20))
TABLES = st.lists(st.fixed_dictionaries({"a": ATOMS, "b": st.lists(st.text(max_size=5), max_size=3)}), max_size=6)


@BUSY
@given(TABLES)
def test_content_is_the_same_from_every_text_format(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("formats")
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "a.jsonl").write_text(text, encoding="utf-8")
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "a.json").write_text(
        json.dumps([dict(reversed(row.items())) for row in rows], indent=2), encoding="utf-8"
    )
    pinned_source = content(rows, ("b", "a"))
    for file in folder.iterdir():
        assert content(read(file, ("a", "b")), ("a", "b")) == pinned_source


@BUSY
@given(TABLES, st.data())
def test_content_changes_with_every_cell_and_the_order(rows: list[Any], data: st.DataObject) -> None:
    before = content(rows, ("a", "b"))
    assert before[0] == len(rows)
    if rows:
        at = data.draw(st.integers(0, len(rows) - 1))
        other = data.draw(ATOMS.filter(lambda value: json.dumps(value) != json.dumps(rows[at]["a"])))
        assert content([*rows[:at], {**rows[at], "a": other}, *rows[at + 1 :]], ("a", "b")) != before
        assert content(rows[:-1], ("a", "b")) != before
        if content(rows[:1], ("a", "b")) != content(rows[-1:], ("a", "b")):
            assert content([rows[-1], *rows[1:-1], rows[0]], ("a", "b")) != before


def test_content_is_what_its_docstring_says() -> None:
    line = b'{"a":"\\u00e9","b":[1,null]}\n'
    assert content([{"b": [1, None], "a": "é", "c": 0}], ("b", "a")) == (1, hashlib.sha256(line).hexdigest())


# ---------------------------------------------------------------- the sources as they are written


ALL = [*(each.source for each in BENCHMARKS.values()), TESTS]


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.name)
def test_each_source_is_well_formed(each: Source) -> None:
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", each.repo)
    assert each.revision is None or re.fullmatch("[0-9a-f]{40}", each.revision)
    assert each.files and all(digest is None or re.fullmatch("[0-9a-f]{64}", digest) for digest in each.files.values())
    assert each.sha256 is None or re.fullmatch("[0-9a-f]{64}", each.sha256)
    assert each.evidence and each.licence and len(set(each.columns)) == len(each.columns)
    if unknown(each):
        with pytest.raises(SourceError, match=f"pin {each.name}"):
            load(each)


def test_no_hash_stands_twice() -> None:
    hashes = [digest for each in ALL for digest in (*each.files.values(), each.sha256) if digest]
    assert len(set(hashes)) == len(hashes)


def test_which_sets_are_pinned_and_which_say_that_they_are_not() -> None:
    assert {each.name for each in ALL if unknown(each)} == {
        "codeforces", "ioi", "ioi-tests", "openr1-math", "openthoughts", "synthetic-1-math", "general-reasoning",
    }  # fmt: skip
    assert {each.name for each in ALL if each.gated} == {"gpqa-diamond", "hle"}


# ---------------------------------------------------------------- the real files


@pytest.mark.parametrize(
    ("name", "file", "left_out"),
    [
        ("gsm8k", "gsm8k_test.jsonl", 0), ("gsm8k-train", "gsm8k_train.jsonl", 0),
        ("humaneval", "HumanEval.jsonl.gz", 0), ("temporal-clue", "temporal_clue_test.json", 0),
        ("aiw-paper", "aiw_prompts.json", 19),
    ],
)  # fmt: skip
def test_the_whole_real_file_is_what_was_pinned(name: str, file: str, left_out: int) -> None:
    benchmark = BENCHMARKS[name]
    rows = list(read(whole(file), benchmark.source.columns))
    check(benchmark.source, rows)
    questions, reasons = collect(benchmark, rows)
    assert len(questions) == len(rows) - left_out and reasons.total() == left_out
    with pytest.raises(SourceError, match="other content"):
        check(benchmark.source, [rows[1], rows[0], *rows[2:]])


@pytest.mark.parametrize(
    ("pinned_source", "file"),
    [(temporal_clue.SOURCE, "temporal_clue_test.json"), (AIW, "aiw_prompts.json")],
    ids=["clue", "aiw"],
)
def test_a_real_set_comes_from_github_with_its_source_as_it_is_written(
    hub: Hub, pinned_source: Source, file: str
) -> None:
    """Revision, path, bytes, rows, content: all of the source holds, over HTTP."""
    (path,) = pinned_source.files
    hub.repositories[pinned_source.repo] = Repository({str(pinned_source.revision): {path: whole(file).read_bytes()}})
    assert sum(1 for _ in load(pinned_source)) == pinned_source.rows


@pytest.mark.parametrize(
    ("pinned_source", "file"),
    [(gsm8k.TEST_SOURCE, "gsm8k_test.jsonl"), (humaneval.SOURCE, "HumanEval.jsonl.gz")],
    ids=["gsm8k", "humaneval"],
)
def test_real_rows_as_parquet_have_the_content_that_was_pinned(hub: Hub, pinned_source: Source, file: str) -> None:
    """The content hash was taken from JSON lines, and the Hub hands out Parquet, whose bytes depend on who wrote it."""
    rows = list(read(whole(file), pinned_source.columns))
    (path,) = pinned_source.files
    free = replace(pinned_source, files={path: None})
    hub.repositories[pinned_source.repo] = Repository({str(pinned_source.revision): {path: parquet(rows)}})
    assert list(load(free)) == rows
    with pytest.raises(SourceError, match="is not the file that was pinned"):
        load(pinned_source)
    edited = [*rows[:7], {**rows[7], pinned_source.columns[1]: "#### 7"}, *rows[8:]]
    hub.repositories[pinned_source.repo].commits[str(pinned_source.revision)][path] = parquet(edited)
    for copy in Path(os.environ["HF_HUB_CACHE"]).rglob("*.parquet"):
        copy.unlink()
    with pytest.raises(SourceError, match="other content"):
        load(free)
