"""Overlap against brute force, planted copies, and the real GSM8K."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import decontamination
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from real_data import WHOLE, needs

from harness.benchmarks import BENCHMARKS, collect
from harness.benchmarks.overlap import (
    COVERED,
    WITHHELD,
    Grams,
    Overlap,
    OverlapError,
    Shared,
    Text,
    describe,
    fingerprint,
    normal,
    overlap,
    texts,
    withheld,
    words,
)
from harness.benchmarks.rows import read
from harness.frozen.draw import split_of
from harness.tasks import GENERATED

DATA = Path(__file__).parents[1] / "data" / "benchmarks"
BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be, for a moment


def gsm8k(name: str, folder: Path = DATA) -> list[Text]:
    file = folder / f"gsm8k_{name}.jsonl"
    benchmark = BENCHMARKS["gsm8k" if name == "test" else "gsm8k-train"]
    return [(question.id, question.prompt) for question in collect(benchmark, read(file, benchmark.source.columns))[0]]


# ---------------------------------------------------------------- normal forms


def test_words_drop_punctuation_case_and_latex() -> None:
    asked = "What is $\\frac{1}{2}$ of Tom's 3x_1 apples?  ＡＢＣ"
    assert " ".join(words(asked)) == "what is frac 1 2 of tom s 3x 1 apples abc"
    assert words("…") == words("") == []


def test_normal_keeps_operators_and_forgets_order() -> None:
    assert normal("Make 24 from 3, 7 and 8.") == normal("make 24 from 8, 7 and 3")
    assert normal("Solve 3x + 7 = 22.") != normal("Solve 3x - 7 = 22.")
    assert normal("Is it “3 3”?") != normal("Is it “3”?")
    assert fingerprint("a b") == fingerprint("B, a!") != fingerprint("a b b")


@pytest.mark.parametrize("name", GENERATED)
def test_what_has_one_normal_form_lives_on_one_side(name: str) -> None:
    """Else a question could be trained on and held out at once, and `same` would be right to find it."""
    if name == "clue":
        pytest.importorskip("pysat", reason="PySAT is not installed (extra `tasks`)")
    side: dict[bytes, str] = {}
    many = 1500 if GENERATED[name].distinct < 100_000 and not name.startswith("gym-") else 4 if name == "clue" else 50
    for split in ("train", "heldout"):
        for _, prompt in texts(f"{name}/{split}", count=many):
            assert side.setdefault(fingerprint(prompt), split) == split == split_of(name, prompt)


@BUSY
@given(st.text(max_size=60))
def test_normal_forms_are_total_and_stable(text: str) -> None:
    assert normal(normal(text)) == normal(text)
    assert words(" ".join(words(text))) == words(text)
    assert len(fingerprint(text)) == 32


# ---------------------------------------------------------------- against brute force


def runs(prompt: str, n: int) -> set[tuple[str, ...]]:
    text = tuple(words(prompt))
    if len(text) < n:
        return {text} if text else set()
    return {text[i : i + n] for i in range(len(text) - n + 1)}


PROMPTS = st.lists(st.text(alphabet="abcd ", max_size=16), max_size=7)


@BUSY
@given(PROMPTS, PROMPTS, st.integers(1, 4))
def test_counts_agree_with_comparing_every_pair(training: list[str], asked: list[str], n: int) -> None:
    streamed = ((f"t{i}", text) for i, text in enumerate(training))
    result = overlap(streamed, ((f"b{i}", text) for i, text in enumerate(asked)), (n,), 99)
    assert (result.training, result.benchmark) == (len(training), len(asked))
    assert result.same == sum(any(normal(a) == normal(b) for a in training) for b in asked)
    everything = set[tuple[str, ...]]().union(*(runs(a, n) for a in training))
    (grams,) = result.grams
    assert grams.benchmark == sum(bool(runs(b, n) & everything) for b in asked)
    assert grams.training == sum(any(runs(a, n) & runs(b, n) for b in asked) for a in training)
    assert grams.covered == sum(
        bool(runs(b, n)) and len(runs(b, n) & everything) / len(runs(b, n)) >= COVERED for b in asked
    )
    assert grams.containing == sum(any(runs(a, n) and runs(a, n) <= runs(b, n) for a in training) for b in asked)
    assert len(grams.examples) == grams.benchmark and len(result.same_examples) == result.same
    for example in grams.examples:
        for identity, prompts in ((example.training, training), (example.benchmark, asked)):
            assert tuple(example.text.split()) in runs(prompts[int(identity[1:])], n)


def test_planted_copies_are_found_and_nothing_else() -> None:
    rng = random.Random(4)

    def sentence(vocabulary: str) -> str:
        return " ".join(f"{vocabulary}{rng.randrange(10**9)}" for _ in range(30))

    training = [(f"t{i}", sentence("t")) for i in range(200)]
    asked = [(f"b{i}", sentence("b")) for i in range(200)]
    clean = overlap(training, asked)
    assert clean.same == 0 and all(g.benchmark == g.covered == g.training == 0 for g in clean.grams)
    whole, edited, ten = (asked[i][1] for i in (3, 50, 120))
    training[7] = ("t7", whole.upper() + "!")
    training[8] = ("t8", edited.replace(" ", ", ").rsplit(" ", 2)[0] + " changed end")  # two words of 30 replaced
    training[9] = ("t9", "quite another question " + " ".join(ten.split()[:10]))  # ten words in a row
    result = overlap(iter(training), iter(asked))
    thirteen, eight = result.grams
    assert (result.same, [(s.training, s.benchmark) for s in result.same_examples]) == (1, [("t7", "b3")])
    assert (thirteen.benchmark, thirteen.covered, thirteen.training) == (2, 2, 2)
    assert (eight.benchmark, eight.covered, eight.training) == (3, 2, 3)
    assert [example.benchmark for example in eight.examples] == ["b3", "b50", "b120"]


def test_a_short_question_inside_a_long_one() -> None:
    """As AIW's puzzles stand in its authors' prompts: little of the prompt is covered, all of the puzzle is there."""
    puzzle = "Alice has 3 brothers and she also has 6 sisters. How many sisters does Alice's brother have?"
    asked = [("b0", f"{puzzle} {' '.join(f'instruction{i}' for i in range(60))}"), ("b1", "a riddle about boats")]
    result = overlap([("t0", puzzle), ("t1", "another")], asked)
    assert result.same == 0
    for grams in result.grams:
        assert (grams.covered, grams.containing, grams.examples[0].benchmark) == (0, 1, "b0")


def test_the_training_set_is_streamed() -> None:
    """Nothing of it is kept: each question is gone before the next is made."""
    alive = 0

    class Tracked(str):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def endless() -> Iterator[Text]:
        nonlocal alive
        for i in range(500):
            alive += 1
            assert alive <= 2
            yield f"t{i}", Tracked(f"question number {i} about nothing in particular")

    assert overlap(endless(), [("b", "another question")]).training == 500


# ---------------------------------------------------------------- sets by name, and the real thing


def test_generated_tasks_by_name() -> None:
    result = overlap(texts("nim/train", count=3000), texts("nim/heldout", count=1000))
    assert (result.training, result.benchmark, result.same) == (3000, 1000, 0)
    again = overlap(texts("nim/train", count=3000), texts("nim/train", b"another key", 1000))
    assert again.same > 100  # 8,600 training questions: two keys meet
    for wrong in ("nim", "nim/test", "gsm9k", "gsm8k/train", ""):
        with pytest.raises(OverlapError, match="there is no set of questions"):
            texts(wrong)


def test_the_excerpts_and_a_contaminated_copy() -> None:
    training, asked = gsm8k("train"), gsm8k("test")
    assert overlap(training, asked).same == 0
    result = overlap([*training, *asked[5:8]], asked)
    assert result.same == 3 and result.grams[0].covered >= 3
    lines = list(describe("gsm8k-train", "gsm8k", result))
    assert lines[:2] == ["gsm8k-train, 63 questions, against gsm8k, 60 questions", "  same question: 3 of gsm8k"]
    assert f"    {asked[5][0]} and {asked[5][0]}: {normal(asked[5][1])}" in lines


def test_what_must_not_be_published_is_counted_and_not_shown() -> None:
    secret = [Shared("gsm8k-train/1", "gpqa-diamond/rec1", "the words of a question")]
    result = Overlap(1, 1, 1, secret, [Grams(13, 1, 1, 0, 1, secret)])
    lines = "\n".join(describe("gsm8k-train", "gpqa-diamond", result))
    assert lines.count(WITHHELD) == 2 and "gpqa-diamond/rec1" in lines and "the words" not in lines
    assert "the words" in "\n".join(describe("gsm8k-train", "gsm8k", result))


@needs("gsm8k_train.jsonl", "gsm8k_test.jsonl")
def test_gsm8k_as_it_is() -> None:
    result = overlap(gsm8k("train", WHOLE), gsm8k("test", WHOLE))
    assert (result.training, result.benchmark) == (7473, 1319)
    assert result.same < 5


@pytest.mark.slow
@pytest.mark.all
@needs(*decontamination.LOCAL.values())
def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What can be had is counted, what cannot is named with its reason, and nothing of this machine is in it."""
    pytest.importorskip("huggingface_hub")  # before HF_HUB_OFFLINE is set, or it stays offline for all tests
    for name, value in {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(decontamination, "GENERATED", {"nim": GENERATED["nim"]})
    monkeypatch.setattr("sys.argv", ["decontamination.py", "--data", str(WHOLE), "--draws", "30"])
    decontamination.main()
    page = capsys.readouterr().out
    for name, questions in (("gsm8k", "1,319"), ("humaneval", "164"), ("temporal-clue", "64"), ("aiw-paper", "807")):
        assert f"| `gsm8k-train` | 7,473 | `{name}` | {questions} |" in page
    assert f"| `nim` | {GENERATED['nim'].distinct:,} | 30 | 0 | 0 | none |" in page
    _, _, absent = page.partition("## Not looked at")
    local = {*decontamination.LOCAL}
    assert all((f"- `{name}`: " in absent) == (name not in local) for name in BENCHMARKS)
    assert "- `ioi`: not pinned: never seen here" in absent and "- `math`: pinned, and could not be fetched" in absent
    assert "- `frontiermath`: not public" in absent
    assert str(tmp_path) not in page and str(WHOLE) not in page


def test_no_word_of_a_set_that_must_not_be_shown_is_in_what_is_printed_as_json():
    text = "one two three four five six seven eight nine ten eleven twelve thirteen"
    result = overlap([("a", text)], [("b", text)])
    without = withheld("gsm8k-train", "gpqa-diamond", result)
    assert without.same == result.same == 1 and without.same_examples[0].benchmark == "b"
    assert text in repr(result) and "twelve" not in repr(without)
    assert withheld("gsm8k-train", "gsm8k", result) == result
