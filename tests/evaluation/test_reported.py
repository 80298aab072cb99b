"""The fixed benchmarks of a verification: real data over HTTP, the real engine, sandbox, ledger and audit."""

import csv
import io
import json
import lzma
import os
import shutil
import threading
from dataclasses import replace
from functools import cache
from pathlib import Path

import forked
import pytest
import tiny
import torch
from hub_standin import TOKEN, Repository, parquet, reached, serve
from hypothesis import given
from hypothesis import strategies as st
from real_data import needs, whole

from harness.audit import claims
from harness.audit.audit import audit
from harness.audit.context import RecordContext
from harness.benchmarks import BENCHMARKS
from harness.benchmarks.rows import read
from harness.board.render import rendered
from harness.engines.transformers import generate
from harness.evaluation import intervals, reported
from harness.evaluation.questions import KINDS, Item, Part
from harness.evaluation.reported import ReportedError
from harness.frozen import stats
from harness.frozen.format import Sample
from harness.ledger import record
from harness.ledger.record import BenchmarkResult, BenchmarkScore, Interval
from harness.ledger.signature import load_key
from harness.ledger.store import Ledger
from harness.tracks import files, rules
from harness.tracks.track import ROOT, load, names
from harness.verify.executor import VerifyError
from harness.verify.session import Verifier, verify

TRACK = load("cpu-logic")
FILES = {"temporal-clue": "temporal_clue_test.json", "aiw-paper": "aiw_prompts.json"}
EXCERPTS = {"temporal-clue": "temporal_clue.json", "aiw-paper": "aiw.json"}


def reporting(*suites):
    return TRACK.model_copy(update={"heldout": TRACK.heldout.model_copy(update={"report": list(suites)})})


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Two for so small a model wait for each other as soon as the machine does anything else: minutes, not seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def afresh():
    """Questions are kept for a process, and each test here has its own Hub."""
    reported.questions.cache_clear()
    yield
    reported.questions.cache_clear()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with reached(monkeypatch, tmp_path) as standin:
        yield standin


def excerpt(hub, monkeypatch, name):
    path = ROOT / "tests" / "data" / "benchmarks" / EXCERPTS[name]
    rows = len(list(read(path, BENCHMARKS[name].source.columns)))
    serve(hub, monkeypatch, name, path.read_bytes(), rows=rows)


SECRET = "Which of these words must never stand in a public file?"


def gpqa():
    """Two questions in the form of GPQA's file; the real ones are nobody's to show."""
    file = io.StringIO()
    columns = BENCHMARKS["gpqa-diamond"].source.columns
    table = csv.DictWriter(file, columns)
    table.writeheader()
    for number in range(2):
        table.writerow(dict(zip(columns, [f"rec{number}", f"{SECRET} {number}", "w", "x", "y", "z"], strict=True)))
    return file.getvalue().encode()


# ---------------------------------------------------------------- which are asked


def test_a_suite_stands_for_its_benchmarks_and_what_nobody_pinned_is_named():
    assert reported.benchmarks(TRACK) == ([], {}) and reported.ask(TRACK, b"") == {}
    assert reported.benchmarks(reporting("gsm8k", "maths", "math-500"))[0] == [
        "gsm8k", "math-500", "aime-2024", "aime-2025",
    ]  # fmt: skip
    asked, left_out = reported.benchmarks(reporting("deduction", "code"))
    assert asked == ["temporal-clue", "humaneval"]  # the generated tasks of `deduction` are no fixed benchmark
    assert set(left_out) == {"codeforces", "ioi"} and all("never pinned" in why for why in left_out.values())


@pytest.mark.parametrize("name", names())
def test_what_a_track_reports_can_be_asked(name):
    asked, _ = reported.benchmarks(load(name))
    assert bool(asked) == bool(load(name).heldout.report)
    assert all(BENCHMARKS[each].role == "benchmark" for each in asked)


# ---------------------------------------------------------------- before a session


def test_a_session_begins_with_all_data_and_graders_here(hub, monkeypatch):
    for name in EXCERPTS:
        excerpt(hub, monkeypatch, name)
    track = reporting("temporal-clue", "aiw-paper", "codeforces")
    told = reported.ready(track)
    assert [line.partition(",")[0] for line in told[:2]] == [
        "reported beside the gates: temporal-clue", "reported beside the gates: aiw-paper",
    ]  # fmt: skip
    assert "rows left out" in told[1] and told[2].startswith("not asked: codeforces: ")
    assert reported.count(track) == sum(len(reported.questions(name).items) for name in EXCERPTS)
    assert reported.most(track) >= reported.count(track)
    before = list(hub.requests)
    reported.ready(track)
    assert hub.requests == before  # a run asks what was checked


@needs("gsm8k_test.jsonl")
def test_the_real_gsm8k_from_a_hub(hub, monkeypatch):
    """Its content is what was pinned; the bytes of the Hub's own Parquet file cannot be had here."""
    columns = BENCHMARKS["gsm8k"].source.columns
    data = parquet(list(read(whole("gsm8k_test.jsonl"), columns)))
    (path,) = BENCHMARKS["gsm8k"].source.files
    source = replace(BENCHMARKS["gsm8k"].source, files={path: None})
    monkeypatch.setitem(BENCHMARKS, "gsm8k", replace(BENCHMARKS["gsm8k"], source=source))
    hub.repositories[source.repo] = Repository({str(source.revision): {path: data}})
    assert reported.ready(reporting("gsm8k")) == ["reported beside the gates: gsm8k, 1,319 questions"]
    first = reported.questions("gsm8k").items[0]
    assert first.question.startswith("Janet") and first.question.endswith("an integer in digits.")


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda hub, patch: hub.repositories.clear(), "temporal-clue"),
        (lambda hub, patch: patch.setenv("HF_HUB_OFFLINE", "1"), "HF_HUB_OFFLINE is set"),
        (lambda hub, patch: patch.setattr(hub, "status", 503), "check the connection"),
    ],
)
def test_data_that_is_not_there_is_one_sentence_with_the_command(hub, monkeypatch, prepare, words):
    excerpt(hub, monkeypatch, "temporal-clue")
    prepare(hub, monkeypatch)
    with pytest.raises(ReportedError) as caught:
        reported.ready(reporting("temporal-clue"))
    message = str(caught.value)
    assert message.startswith(f"{TRACK.id} reports temporal-clue, whose questions are not here") and words in message
    assert "`nano-r1 tracks fetch cpu-logic`" in message and "\n" not in message


def test_a_gated_set_wants_a_token_before_anything_else(hub, monkeypatch):
    serve(hub, monkeypatch, "gpqa-diamond", gpqa(), rows=2, gated=True)
    with pytest.raises(ReportedError, match=r"gpqa-diamond.*is gated; accept its terms.*HF_TOKEN"):
        reported.ready(reporting("gpqa-diamond"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert reported.ready(reporting("gpqa-diamond")) == ["reported beside the gates: gpqa-diamond, 2 questions"]


# ---------------------------------------------------------------- asking and counting


def part_of(*pairs):
    """Integers to be told, as a part named after a real set."""
    items = [
        Item("gsm8k", Sample(f"gsm8k/{i}", prompt, target), KINDS["integer"])
        for i, (prompt, target) in enumerate(pairs)
    ]
    return Part("gsm8k", items)


def test_each_completion_counts_once_for_what_it_is():
    grader = rules.grader(TRACK)
    end = [grader.end_id]

    def completion(answer):
        return grader.text_ids(f"<think>so</think><answer>{answer}</answer>") + end

    rows = [
        completion("7"),  # right
        completion("8"),  # in form, and wrong
        grader.text_ids("7") + end,  # right to a reader, and in no form
        completion("7")[:-1],  # never ended
        completion("7") + end,  # two ends
        [grader.vocabulary, *completion("7")],  # no token of the tokenizer's
        None,  # did not fit
    ]
    found = reported.tally(part_of(*[("How many?", "7")] * len(rows)), rows, grader.text_of)
    assert (found.questions, found.correct, found.formatted, found.truncated, found.too_long) == (7, 1, 2, 1, 1)
    assert found.tokens == sum(len(row) for row in rows if row is not None)
    assert found.accuracy_ppm == reported.wilson(1, 7) and found.revision == BENCHMARKS["gsm8k"].source.revision


def test_the_digest_sees_all_that_a_score_hangs_on():
    item = Item("gsm8k", Sample("gsm8k/0", "How many?", "7", {"level": 1}), KINDS["integer"])
    other = [
        replace(item, sample=replace(item.sample, id="gsm8k/1")),
        replace(item, sample=replace(item.sample, prompt="How much?")),
        replace(item, sample=replace(item.sample, target="8")),
        replace(item, sample=replace(item.sample, metadata={"level": 2})),
        replace(item, kind=KINDS["maths"]),
    ]
    digests = {reported.digest([each]) for each in [item, *other]} | {reported.digest([item, item])}
    assert len(digests) == len(other) + 2 and reported.digest([item]) == reported.digest([replace(item)])


def test_a_model_is_asked_what_fits_it_in_the_tracks_own_template(hub, monkeypatch):
    """The base on excerpts of two sets, as a track asks it; the same once more, straight from the engine."""
    for name in EXCERPTS:
        excerpt(hub, monkeypatch, name)
    short = TRACK.sampling.model_copy(update={"max_new_tokens": 48})
    track = reporting("temporal-clue", "aiw-paper").model_copy(update={"sampling": short})
    weights = (TRACK.base_folder / "model.safetensors").read_bytes()
    done = []
    found = reported.ask(track, weights, done.append)
    assert list(found) == ["temporal-clue", "aiw-paper"]
    assert found["temporal-clue"].too_long == found["temporal-clue"].questions > 0  # 512 positions, long stories
    aiw = found["aiw-paper"]
    assert aiw.too_long < aiw.questions and done[-1] == sum(row.questions - row.too_long for row in found.values())

    grader = rules.grader(track)
    items = reported.questions("aiw-paper").items
    form = "<|user|>{}\n\nThe answer is an integer in digits.<|assistant|>"
    prompts = [grader.text_ids(form.format(item.sample.prompt)) for item in items]
    fits = [(item, prompt) for item, prompt in zip(items, prompts, strict=True) if len(prompt) + 48 <= 512]
    answers = generate(
        track.base_folder, weights, [ids for _, ids in fits], end_id=grader.end_id, max_new_tokens=48, batch=7
    )
    said = [(item.sample.target, grader.text_of(ids)) for (item, _), ids in zip(fits, answers, strict=True)]
    assert aiw.tokens == sum(map(len, answers)) and aiw.truncated == sum(text is None for _, text in said)
    assert aiw.correct == sum((text or "").endswith(f"</think><answer>{target}</answer>") for target, text in said)


# ---------------------------------------------------------------- what a record says


def result(questions, correct, **changes):
    row = BenchmarkResult(
        revision="a" * 40, questions_sha256="b" * 64, questions=questions, correct=correct, formatted=correct,
        truncated=0, too_long=0, tokens=10, accuracy_ppm=reported.wilson(correct, questions),
    )  # fmt: skip
    return row.model_copy(update=changes)


@cache
def real():
    """The newest record of the CPU track."""
    folder = sorted((ROOT / "records").glob("*_cpu-logic_*"))[-1]
    return record.load((folder / "record.json").read_bytes())


def whole_record(said):
    return real().model_copy(update={"predicate": said})


def predicate(corrects, questions=10, control=None):
    """That record's, with such benchmarks."""

    def run(number, correct):
        row = {"gsm8k": result(questions, correct)}
        return real().predicate.runs[0].model_copy(update={"run": number, "benchmarks": row})

    runs = [run(i, correct) for i, correct in enumerate(corrects)]
    beside = None if control is None else run(len(runs), control)
    scores = reported.scores(runs, beside)
    return real().predicate.model_copy(update={"runs": runs, "control": beside, "benchmarks": scores})


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(50, 2000), st.none() | st.integers(0, 50))
def test_scores_follow_from_the_runs_and_have_no_flaw(corrects, questions, control):
    said = predicate(corrects, questions, control)
    assert reported.flaw(said) is None
    score = said.benchmarks["gsm8k"]
    mean = sum(corrects) / len(corrects) / questions
    assert abs(score.accuracy_ppm.mean - mean * 1e6) <= 0.51
    assert 0 <= score.accuracy_ppm.low <= score.accuracy_ppm.mean <= score.accuracy_ppm.high <= 1_000_000
    assert (score.control_ppm is None) == (control is None)
    assert record.load(record.dump(whole_record(said))).predicate.benchmarks == said.benchmarks


def test_one_run_has_wilsons_interval_and_several_a_t_interval():
    low, high = intervals.wilson(3, 10)
    assert predicate([3]).benchmarks["gsm8k"].accuracy_ppm == Interval(
        low=round(low * 1e6), mean=300_000, high=round(high * 1e6)
    )
    low, _, high = stats.t_interval([0.3, 0.5])
    assert low < 0 and high > 1  # clipped to what an accuracy can be
    assert predicate([3, 5], control=1).benchmarks["gsm8k"] == BenchmarkScore(
        accuracy_ppm=Interval(low=0, mean=400_000, high=1_000_000), control_ppm=reported.wilson(1, 10)
    )


def test_records_of_before_have_none_and_their_bytes_are_the_same():
    for folder in sorted((ROOT / "records").glob("*_cpu-logic_*")):
        data = (folder / "record.json").read_bytes()
        item = record.load(data)  # which refuses what `dump` would not write
        assert item.predicate.benchmarks is None and b"benchmarks" not in data
        assert reported.flaw(item.predicate) is None and reported.scores(item.predicate.runs, None) is None


@pytest.mark.parametrize(
    ("run", "changes", "words"),
    [
        (0, {"correct": 4, "formatted": 4}, "run 0: gsm8k: accuracy or interval"),
        (1, {"accuracy_ppm": Interval(low=0, mean=500_000, high=1_000_000)}, "run 1: gsm8k: accuracy or interval"),
        (1, {"formatted": 4}, "run 1: gsm8k: the counts do not add up"),
        (1, {"truncated": 6}, "the counts do not add up"),
        (2, {"too_long": 10}, "run 2: gsm8k: the counts do not add up"),
        (2, {"questions_sha256": "c" * 64}, "run 2: gsm8k: not the questions that run 0"),
        (1, {"revision": "c" * 40}, "not the questions that run 0"),
        (1, {"questions": 11}, "not the questions that run 0"),
    ],
)
def test_a_number_that_does_not_hold_is_found(run, changes, words):
    said = predicate([3, 5], control=1)
    runs = [*said.runs, said.control]
    (row,) = runs[run].benchmarks.values()
    runs[run] = runs[run].model_copy(update={"benchmarks": {"gsm8k": row.model_copy(update=changes)}})
    assert words in reported.flaw(said.model_copy(update={"runs": runs[:2], "control": runs[2]}))


def test_scores_that_are_not_the_runs_are_found():
    said = predicate([3, 5], control=1)
    better = said.benchmarks["gsm8k"].model_copy(update={"control_ppm": None})
    for forged in ({"gsm8k": better}, {}, None, {**said.benchmarks, "math-500": said.benchmarks["gsm8k"]}):
        assert reported.flaw(said.model_copy(update={"benchmarks": forged})) == "the scores do not follow from the runs"
    bare = said.control.model_copy(update={"benchmarks": None})
    assert "run 2 was asked other benchmarks" in reported.flaw(said.model_copy(update={"control": bare}))


# ---------------------------------------------------------------- a whole verification


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The tiny track, which here reports two real sets and one that must not be shown."""
    tiny.build_place(tmp_path, 0.1)
    path = tmp_path / "harness" / "tracks" / "cpu-logic.toml"
    report = 'report = ["aiw-paper", "temporal-clue", "gpqa-diamond"]'
    text = path.read_text(encoding="utf-8").replace("control_ppm = 620_000", f"{report}\ncontrol_ppm = 620_000")
    text = text.replace("max_new_tokens = 128\nbatch = 512", "max_new_tokens = 32\nbatch = 64")
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(files, "TRACKS", path.parent)
    (tmp_path / "submissions").mkdir()
    return tmp_path


class Listener(tiny.StepRecorder):
    def __init__(self, place):
        super().__init__(place / "told")


@pytest.mark.slow
@pytest.mark.all
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
@needs(*FILES.values())
def test_a_verification_asks_them_and_the_record_has_the_scores_and_no_question(place, hub, monkeypatch):
    item = tiny.make_submission(place / "submissions", "reader", 0.1)
    ledger = Ledger(place / "records")
    verifier = Verifier(ledger, load_key(place / "key"), tiny.state_folder(place), Listener(place), threading.Event())
    for name, file in FILES.items():
        serve(hub, monkeypatch, name, whole(file).read_bytes())  # byte for byte what is pinned
    serve(hub, monkeypatch, "gpqa-diamond", gpqa(), rows=2, gated=True)
    with pytest.raises(VerifyError, match=r"gpqa-diamond.*HF_TOKEN"):
        verify(load("cpu-logic"), [item], verifier, runs=1)
    assert not ledger.folder.exists() and "train" not in (place / "told").read_text(
        encoding="utf-8"
    )  # found out before, not behind
    monkeypatch.setenv("HF_TOKEN", TOKEN)

    (outcome,) = verify(load("cpu-logic"), [item], verifier, runs=1)
    said = record.load((outcome.folder / "record.json").read_bytes()).predicate
    assert outcome.benchmarks == said.benchmarks and list(said.benchmarks) == [
        "aiw-paper", "gpqa-diamond", "temporal-clue",
    ]  # fmt: skip
    for run in (said.runs[0], said.control):
        assert {name: row.questions for name, row in run.benchmarks.items()} == {
            "aiw-paper": 807, "gpqa-diamond": 2, "temporal-clue": 64,
        }  # fmt: skip
    assert dict(said.control.benchmarks) == dict(said.runs[0].benchmarks)  # both handed the base back
    assert set(said.runs[0].tasks) == {suite.task for suite in load("cpu-logic").heldout.suites}  # gated as ever
    assert said.verdict.gates.keys() == {"mean", *load("cpu-logic").heldout.gates}

    public = b"".join(
        lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
        for path in outcome.folder.iterdir()
    ).decode(errors="replace")
    prompts = [each.sample.prompt for name in said.benchmarks for each in reported.questions(name).items]
    assert len(prompts) == 873 and not any(json.dumps(prompt)[1:-1] in public for prompt in prompts)
    lines = lzma.decompress((outcome.folder / "completions.jsonl.xz").read_bytes()).splitlines()
    assert [len(json.loads(line)["completions"]) for line in lines] == [24, 24]  # those of the gated questions alone

    found = list(audit(ledger, None, place))
    assert [finding for finding in found if not finding.ok] == []
    assert [f.message.partition(";")[0] for f in found if f.check == "benchmarks"] == [
        "counts, accuracies and intervals of the fixed benchmarks recomputed",
        "aiw-paper, gpqa-diamond, temporal-clue",
    ]
    page = rendered(ledger.folder, [load("cpu-logic")])["cpu-logic.md"].decode()
    section = page.partition("## Fixed benchmarks")[2].partition("\n## ")[0]
    assert (
        "| Submission | aiw-paper | control run | gpqa-diamond | control run | temporal-clue | control run |" in section
    )
    assert section.count("| reader (apart) |") == 1 and SECRET not in page


def test_the_audit_asks_whose_benchmarks_they_are(place):
    said = predicate([3, 5], control=1)
    track = load("cpu-logic")
    own = {"aiw-paper": said.benchmarks["gsm8k"]}
    for benchmarks, good in ((own, True), (said.benchmarks, False), ({**own, **said.benchmarks}, False), (None, False)):
        item = whole_record(said.model_copy(update={"benchmarks": benchmarks}))
        (found,) = claims.check_reported(RecordContext("here", item), track)
        assert found.ok == good, found
    bare = whole_record(predicate([3]).model_copy(update={"benchmarks": None}))
    assert list(claims.check_reported(RecordContext("here", bare), TRACK)) == []


@pytest.mark.slow
def test_the_command_ends_with_2_before_anything_is_announced(place, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(place / "hub"))
    tiny.make_submission(place / "submissions", "reader", 0.1)
    shown = place / "shown"
    arguments = ["verify", str(place / "submissions" / "reader"), "--runs", "1", "--key", str(place / "key")]
    process = forked.Process(
        target=offline_command, args=(place, [*arguments, "--ledger", str(place / "records")], shown, dict(os.environ))
    )
    process.start()
    process.join()
    (line,) = shown.read_text(encoding="utf-8").splitlines()
    assert process.exitcode == 2 and line.startswith(f"nano-r1: {TRACK.id} reports aiw-paper, whose questions are not")
    assert "`nano-r1 tracks fetch cpu-logic`" in line and not (place / "records").exists()


def offline_command(place: Path, arguments: list[str], shown: Path, environment: dict[str, str]) -> None:
    """What a process does; a fork server has the environment of when it was started."""
    os.environ.update(environment)
    tiny.run_command(place, arguments, shown)
