"""The deduction base: derivations and clean traces are right, hasty ones often wrong, files are remade."""

import json
import random
import re
from itertools import product

import make_deduction_base as make
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.frozen.draw import sample, split_of
from harness.frozen.format import Sample, score
from harness.tasks import TASKS
from harness.tracks.track import ROOT, load

FOLDER = ROOT / "harness" / "models" / "deduction-base"


def items(task, count):
    return [sample(TASKS[task], make.KEY, "train", i) for i in range(count)]


def truth(statement, things):
    """Of a world: sets of literals, one a thing. Propositional logic has one thing."""
    kind, a, b = statement
    some = {(a in thing, b in thing) for thing in things}
    match kind:
        case "fact":
            return all(a in thing for thing in things)
        case "if" | "all":
            return (True, False) not in some
        case "or":
            return (False, False) not in some
        case "iff":
            return some <= {(True, True), (False, False)}
        case "no":
            return (True, True) not in some
        case "some":
            return (True, True) in some
    return (True, False) in some


def world(letters, values):
    return {letter if value else f"not-{letter}" for letter, value in zip(letters, values, strict=True)}


THINGS = [world("BCD", values) for values in product((True, False), repeat=3)]
LITERALS = st.sampled_from(["B", "not-B", "C", "not-C", "D", "not-D"])
SIMPLE = st.sampled_from(["fact", "if", "or", "iff"])


@given(SIMPLE, LITERALS, LITERALS)
def test_rules_facts_and_denials_say_what_the_statement_says(kind, a, b):
    statement = make.Statement(kind, a, "" if kind == "fact" else b)
    for thing in THINGS:
        says = (
            all(this not in thing or then in thing for this, then in make.rules(statement))
            and set(make.facts_of(statement)) <= thing
        )
        assert says == truth(statement, [thing])
        if kind != "iff":  # never asked for
            start, more = make.deny(statement)
            assert not more
            assert (set(start) <= thing) != truth(statement, [thing])


@pytest.mark.parametrize("kind", ["all", "no", "some", "some-not"])
def test_denials_of_statements_about_groups(kind):
    """The denial of a rule tells of one thing; the denial of what is told of one thing is a rule."""
    statement = make.Statement(kind, "B", "C")
    start, more = make.deny(statement)
    for thing in THINGS:
        if kind in ("all", "no"):
            assert not more
            assert (set(start) <= thing) != truth(statement, [thing])
        else:
            assert not start
            assert all(this not in thing or then in thing for this, then in more) != truth(statement, [thing])


@given(st.sampled_from(sorted(make.TEXT)), LITERALS, LITERALS)
def test_statements_are_read_as_they_were_written(kind, a, b):
    statement = make.Statement(kind, a, "" if kind == "fact" else b)
    assert make.read(make.write(statement)) == statement
    assert make.read(make.capital(make.write(statement)).removesuffix(".")) == statement


def test_chains_by_hand():
    given = make.rules(make.read("if B then C")) + make.rules(make.read("no C are D"))
    assert given == [("B", "C"), ("not-C", "not-B"), ("C", "not-D"), ("D", "not-C")]
    assert make.chain(["B"], given) == ("B;B:C;C:not-D;not-D:.", False)
    assert make.chain(["B", "D"], given) == ("B,D;B:C;D:not-C!", True)
    assert make.chain(["D", "not-D"], []) == ("D,not-D!", True)
    assert make.chain(["B"], given, most=1) == ("B;B:C.", False)


def test_a_hasty_reader_takes_the_converse_for_the_contraposition():
    assert make.rules(make.read("if B then C"), hasty=True) == [("B", "C"), ("C", "B")]
    assert make.rules(make.read("B or not-C"), hasty=True) == [("not-B", "not-C"), ("not-C", "not-B")]
    assert make.rules(make.read("some B are C"), hasty=True) == []
    prompt = "If B then C. C. Does it follow that B? Answer yes or no."
    item = Sample("", prompt, "no", {})
    assert make.trace(item) == ("B→C,not-C→not-B;not-B,C;not-B:;C:.", "no")
    assert make.trace(item, hasty=True) == ("B→C,C→B;not-B,C;not-B:;C:B!", "yes")
    assert make.trace(item, hasty=True, most=1) == ("B→C,C→B;not-B,C;not-B:.", "no")


@pytest.mark.parametrize("task", make.NAMES)
def test_clean_traces_are_right(task):
    for item in items(task, 400):
        assert score(TASKS[task], item, make.completion(*make.trace(item))).correct, item.prompt


@pytest.mark.parametrize("task", make.NAMES)
def test_traces_of_mixed_quality_are_formatted_and_often_wrong(task):
    rng = random.Random(1)
    scores = [score(TASKS[task], item, make.mixed(item, rng, make.careful_or_hasty)) for item in items(task, 600)]
    assert all(entry.formatted for entry in scores)
    assert 0.4 < sum(entry.correct for entry in scores) / len(scores) < 0.8


def test_the_committed_traces_are_those_of_the_seed_and_of_the_training_side():
    rows = make.warmup()
    assert [json.loads(line) for line in (FOLDER / "warmup.jsonl").read_text(encoding="utf-8").splitlines()] == rows
    assert len(rows) == make.TRACES
    assert all(split_of(row["task"], row["prompt"]) == "train" for row in rows)


def test_the_base_learns_no_answers():
    rng = random.Random(2)
    for task, item in make.questions(b" base", 300):
        plain = make.worked_question(task, item, rng, in_template=False)
        framed = make.worked_question(task, item, rng, in_template=True)
        for text in (plain, framed, make.worked_premises(item, rng)):
            learnt = "".join(piece for piece, is_learnt in text if is_learnt)
            assert not re.search(r"\?|yes|no\b(?!t-)|answer", learnt), learnt
        assert framed[0][0].startswith("<|user|>") and framed[0][0].endswith("<|assistant|>")
        assert re.fullmatch("<think>[^<>]+</think>", framed[1][0]) and not re.search("[<>]", plain[1][0])


def test_the_last_round_asks_entailment_twice_as_often():
    names = [name for name, _ in make.questions(b" base", 300, make.ROUNDS[-1])]
    assert names.count("entailment") == 2 * names.count("syllogism") == 200


def test_a_question_with_fewer_premises_is_on_the_training_side_too():
    rng = random.Random(4)
    shown = [
        (task, make.worked_question(task, item, rng, in_template=False)[0][0][:-1])
        for task, item in make.questions(b" base", 400)
    ]
    assert all(split_of(task, prompt) == "train" for task, prompt in shown)
    whole = {item.prompt for _, item in make.questions(b" base", 400)}
    assert 0.2 < sum(prompt not in whole for _, prompt in shown) / len(shown) < 0.7


def test_worked_premises_say_what_each_literal_implies():
    rng = random.Random(3)
    item = Sample("", "If B then C. Does it follow that not-B? Answer yes or no.", "no", {})
    text = make.worked_premises(item, rng)
    assert text[:2] == [("If B then C. ", False), ("B→C,not-C→not-B;", True)]
    answers = {text[i][0]: text[i + 1][0] for i in range(2, len(text), 2)}
    assert answers == {"B:": "C;", "not-C:": "not-B;", "C:": ";", "not-B:": ";"}


def test_the_tokenizer_is_the_one_in_the_repository():
    ours, theirs = make.make_tokenizer(), make.PreTrainedTokenizerFast.from_pretrained(FOLDER)
    assert ours.get_vocab() == theirs.get_vocab()
    for row in make.warmup()[:200]:
        question = make.TEMPLATE.format(prompt=row["prompt"])
        for text in (question, row["completion"]):
            assert theirs.decode(theirs.encode(text)) == text
            assert ours.encode(text) == theirs.encode(text)


def test_a_letter_is_one_token_wherever_it_stands():
    tokenizer = make.make_tokenizer()
    (letter,) = tokenizer.encode("B")
    (denied,) = tokenizer.encode("not-B")
    for text in ("All B are C.", "B!", "B→C", "Does it follow that B?"):
        assert letter in tokenizer.encode(text)
        assert denied in tokenizer.encode(text.replace("B", "not-B"))


def test_the_model_is_of_the_stated_size():
    model = make.build(make.make_tokenizer())
    assert sum(p.numel() for p in model.parameters()) == 517_344 <= 1_000_000


def test_the_traces_fit_the_track():
    track, tokenizer = load("cpu-deduction"), make.PreTrainedTokenizerFast.from_pretrained(FOLDER)
    assert track.train.tasks == list(make.NAMES)
    longest = max(len(tokenizer.encode(row["completion"])) + 1 for row in make.warmup())
    assert longest <= track.sampling.max_new_tokens
