"""What each data set's rows become: real excerpts where the licence allows, else rows of the true form made up here."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from pathlib import Path
from string import ascii_uppercase
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.benchmarks import (
    BENCHMARKS,
    NOT_PUBLIC,
    Benchmark,
    Grader,
    LeftOut,
    Question,
    SourceError,
    collect,
    stream,
)
from harness.benchmarks.boxed import boxed
from harness.benchmarks.pinned import Row, read
from harness.frozen.format import Sample
from harness.tasks import GENERATED

DATA = Path(__file__).parents[1] / "data" / "benchmarks"
BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be, for a moment
EXCERPTS = {
    "gsm8k": "gsm8k_test.jsonl", "gsm8k-train": "gsm8k_train.jsonl", "humaneval": "humaneval.jsonl.gz",
    "temporal-clue": "temporal_clue.json", "aiw-paper": "aiw.json",
}  # fmt: skip


def excerpt(name: str) -> list[Row]:
    return list(read(DATA / EXCERPTS[name], BENCHMARKS[name].source.columns))


def only(name: str, row: Row) -> Question:
    """The one question that a row becomes, read with exactly the columns that its source declares."""
    benchmark = BENCHMARKS[name]
    assert set(row) == set(benchmark.source.columns)
    (item,) = stream(benchmark, [row])
    assert isinstance(item, Question), item
    assert item.grader in get_args(Grader) and item.id.startswith(f"{name}/") and isinstance(item, Sample)
    return item


def reason(name: str, row: Row) -> str:
    (item,) = stream(BENCHMARKS[name], [row])
    assert isinstance(item, LeftOut), item
    return item.reason


# ---------------------------------------------------------------- the registry


def test_every_set_that_the_issue_names_is_there() -> None:
    assert set(BENCHMARKS) == {
        "gsm8k", "math", "math-500", "aime-2024", "aime-2025", "humaneval", "temporal-clue", "aiw-paper", "mmlu-pro",
        "gpqa-diamond", "hle", "codeforces", "ioi", "gsm8k-train", "math-train", "openr1-math", "openthoughts",
        "synthetic-1-math", "general-reasoning",
    }  # fmt: skip
    training = {name for name, benchmark in BENCHMARKS.items() if benchmark.role == "training"}
    assert training == {
        "gsm8k-train", "math-train", "openr1-math", "openthoughts", "synthetic-1-math", "general-reasoning",
    }  # fmt: skip
    assert "not public" in NOT_PUBLIC["frontiermath"]
    assert {name for name, benchmark in BENCHMARKS.items() if benchmark.samples > 1} == {"aime-2024", "aime-2025"}
    assert {name for name, benchmark in BENCHMARKS.items() if not benchmark.republish} == {"gpqa-diamond", "hle"}
    assert not BENCHMARKS.keys() & GENERATED.keys(), "a suite finds its parts by name"


@pytest.mark.parametrize("name", EXCERPTS)
def test_excerpts_become_questions_with_distinct_ids(name: str) -> None:
    questions, _ = collect(BENCHMARKS[name], excerpt(name))
    assert len(questions) > 3 and len({question.id for question in questions}) == len(questions)
    for question in questions:
        assert question.prompt.strip() and question.target and json.dumps(question.metadata)


def test_the_excerpts_are_small() -> None:
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 300_000


def test_a_row_of_another_form_is_one_sentence_that_says_which() -> None:
    for row in (
        {"question": " ", "answer": "#### 2"},
        {"question": ["1+1?"], "answer": "#### 2"},
        {"question": None, "answer": "#### 2"},
        {"question": "1+1?", "answer": "two"},
        {"question": "?", "answer": "#### 1/2"},
        {"question": "", "answer": None},
    ):
        with pytest.raises(SourceError, match=r"^gsm8k: row 1 of openai/gsm8k is not of the form") as caught:
            collect(BENCHMARKS["gsm8k"], [{"question": "1+1?", "answer": "#### 2"}, row])
        assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- words and numbers


def test_gsm8k_gold_is_the_number_after_the_hashes() -> None:
    for name in ("gsm8k", "gsm8k-train"):
        for row, question in zip(excerpt(name), collect(BENCHMARKS[name], excerpt(name))[0], strict=True):
            assert question.prompt == row["question"] and question.grader == "integer"
            assert question.target == row["answer"].split("#### ")[1].replace(",", "")
    assert only("gsm8k", {"question": "q", "answer": "#### 9 #### 1,234,000"}).target == "1234000"
    assert only("gsm8k", {"question": "q", "answer": "so\n#### -07"}).target == "-7"


def test_aime_answers_lose_their_leading_zeros_and_stay_in_range() -> None:
    for name in ("aime-2024", "aime-2025"):
        assert only(name, {"id": 60, "problem": "p", "answer": "025"}).target == "25"
        assert only(name, {"id": "a", "problem": "p", "answer": 0}).target == "0"
        for wrong in ("1000", "-1", "336^\\circ", 2.5, None):
            with pytest.raises(SourceError, match=name):
                collect(BENCHMARKS[name], [{"id": 0, "problem": "p", "answer": wrong}])


ALICE = re.compile(
    r"Alice has (\d+) (brothers?|sisters?) and she also has (\d+) (brothers?|sisters?)\. "
    r"How many sisters does Alice's brother have\?"
)


def test_aiw_gold_by_counting_the_family() -> None:
    """Where the prompt is the paper's first sentence, the answer follows: Alice's sisters, and Alice."""
    questions, left_out = collect(BENCHMARKS["aiw-paper"], excerpt("aiw-paper"))
    no_answer = sum(row["right_answer"] in (None, "null") for row in excerpt("aiw-paper"))
    assert left_out == {"the answer is no integer": no_answer, "several turns": 1} and no_answer > 1
    counted = 0
    for question in questions:
        assert re.fullmatch(r"0|[1-9]\d*", question.target)
        if match := ALICE.match(question.prompt):
            sisters = sum(int(number) for number, kin in (match.groups()[:2], match.groups()[2:]) if kin[0] == "s")
            assert question.target == str(sisters + 1)
            counted += 1
    assert counted > 5


def test_aiw_takes_numbers_and_strings_but_no_fractions() -> None:
    for answer in ("3", 3, 3.0, "3.0"):
        assert only("aiw-paper", {"id": 1, "prompt": "p", "right_answer": answer}).target == "3"
    for wrong in ("three", 3.5, "inf", "nan", [3]):
        with pytest.raises(SourceError):
            collect(BENCHMARKS["aiw-paper"], [{"id": 1, "prompt": "p", "right_answer": wrong}])


# ---------------------------------------------------------------- mathematics


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"so $x=\boxed{3}$.", "3"), (r"\boxed{1} then \boxed{ 2 }", "2"), (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"), (r"\boxed{\left\{ x \right.}", r"\left\{ x \right."), (r"\fbox{7}", "7"),
        (r"$\boxed 2$ apples", "2"), (r"is \boxed2$.", "2"), (r"\boxed {5}", "5"),
        (r"\boxed{\text{(A)}}", r"\text{(A)}"),
        (r"\boxed{a\\b}", r"a\\b"), (r"\boxed{}", None), (r"\boxed{ }", None), (r"\boxed{1", None), ("none", None),
        ("", None), (r"\boxedtext{3}", None), (r"\boxed", None), (r"\boxed{x_{1}} + \boxed{y^{2}}", "y^{2}"),
    ],
)  # fmt: skip
def test_the_last_box(solution: str, answer: str | None) -> None:
    assert boxed(solution) == answer


TEX = st.lists(st.sampled_from(["x", "1", " ", "$", "+", "\\frac", "\\{", "\\}", "\\\\"]), max_size=5).map("".join)
BALANCED = st.recursive(TEX, lambda inner: st.tuples(TEX, inner, TEX).map(lambda t: f"{t[0]}{{{t[1]}}}{t[2]}"))


@BUSY
@given(st.text(alphabet="ab$ \n", max_size=20), BALANCED, st.text(alphabet="ab$ }\n", max_size=20))
def test_whatever_is_put_into_a_box_comes_out(before: str, inside: str, after: str) -> None:
    assert boxed(f"{before}\\boxed{{{inside}}}{after}") == (inside.strip() or None)


@BUSY
@given(st.text(alphabet="\\boxedf{}$ 1\n", max_size=40))
def test_boxed_never_raises(text: str) -> None:
    found = boxed(text)
    assert found is None or (found and found in text)


def test_math_and_math_500() -> None:
    row = {"problem": "p", "level": "Level 5", "type": "Algebra", "solution": r"Thus \boxed{\sqrt{2}}."}
    for name in ("math", "math-train"):
        question = only(name, row)
        assert (question.target, question.grader) == (r"\boxed{\sqrt{2}}", "maths")
        assert question.metadata == {"level": "Level 5", "subject": "Algebra"}
        assert reason(name, {**row, "solution": "Clear."}) == "the solution has no final answer in a box"
    question = only(
        "math-500",
        {
            "problem": "p",
            "answer": r"\frac{3}{4}",
            "subject": "Geometry",
            "level": 2,
            "unique_id": "test/geometry/1.json",
        },
    )
    assert (question.id, question.target) == ("math-500/test/geometry/1.json", r"\boxed{\frac{3}{4}}")


def test_training_sets_of_mathematics() -> None:
    row = {"uuid": "u", "problem": "p", "answer": "\\pi", "question_type": "math-word-problem", "source": "olympiads"}
    assert only("openr1-math", row).target == "\\boxed{\\pi}"
    assert only("openr1-math", {**row, "answer": "B", "question_type": "MCQ"}).grader == "choice"
    assert only("openr1-math", {**row, "answer": "12", "question_type": "MCQ"}).grader == "maths"
    assert reason("openr1-math", {**row, "question_type": "proof"}) == "a proof"
    assert (
        reason("openr1-math", {**row, "answer": "notfound"})
        == reason("openr1-math", {**row, "answer": None})
        == "no answer"
    )

    row = {"problem": "p", "ground_truth_solution": "So \\boxed{5}", "domain": "math", "source": "numina_math"}
    assert only("openthoughts", row).target == "\\boxed{5}"
    assert reason("openthoughts", {**row, "domain": "code"}) == "domain code"
    assert "no final answer" in reason("openthoughts", {**row, "ground_truth_solution": None})

    row = {"problem_id": "vfm_1", "prompt": "p", "verification_info": "", "source": "s", "task_type": "verifiable_math"}
    for information in ('{"ground_truth": "1/2"}', "{'ground_truth': '1/2'}"):
        assert only("synthetic-1-math", {**row, "verification_info": information}).target == "\\boxed{1/2}"
    for none in ("null", '" "'):
        assert reason("synthetic-1-math", {**row, "verification_info": f'{{"ground_truth": {none}}}'}) == "no answer"
    assert only("synthetic-1-math", {**row, "verification_info": '{"ground_truth": 0}'}).target == "\\boxed{0}"
    assert reason("synthetic-1-math", {**row, "task_type": "llm_judgeable"}) == "task of type llm_judgeable"
    for hostile in ("__import__('os').system('true')", "[1]", "{'ground_truth': (1/0)}", "{'other': 1}", "("):
        with pytest.raises(SourceError, match="synthetic-1-math"):
            collect(BENCHMARKS["synthetic-1-math"], [{**row, "verification_info": hostile}])


def test_general_reasoning_keeps_one_row_a_question_and_only_checkable_answers() -> None:
    row = {
        "question_id": 7, "question": "q", "reference_answer": "3/4", "prev_messages": [], "task": "Maths",
        "question_source": "s",
    }  # fmt: skip
    assert only("general-reasoning", row).target == "\\boxed{3/4}"
    assert only("general-reasoning", {**row, "reference_answer": "It is \\boxed{x}."}).target == "\\boxed{x}"
    assert "judge" in reason("general-reasoning", {**row, "reference_answer": "The mitochondrion."})
    assert "judge" in reason("general-reasoning", {**row, "reference_answer": None})
    assert reason("general-reasoning", {**row, "prev_messages": [{"role": "user"}]}) == "inside a conversation"
    questions, left_out = collect(BENCHMARKS["general-reasoning"], [row, {**row, "question_id": 8}, row, row])
    assert len(questions) == 2 and left_out == Counter({"the question was there already": 2})


# ---------------------------------------------------------------- choices


def mmlu(options: list[str], index: int, **changes: Any) -> Row:
    row = {
        "question_id": 70,
        "question": "Q?",
        "options": options,
        "answer": ascii_uppercase[index],
        "answer_index": index,
    }
    return {**row, "category": "law", **changes}


@BUSY
@given(st.lists(st.text(alphabet="abc", min_size=1, max_size=5), min_size=2, max_size=10), st.data())
def test_mmlu_pro_keeps_the_published_order(options: list[str], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(options) - 1))
    question = only("mmlu-pro", mmlu(options, index))
    shown = re.findall(r"^([A-J])\. (.*)$", question.prompt, re.MULTILINE)
    assert shown == list(zip(ascii_uppercase, options, strict=False))
    assert dict(shown)[question.target] == options[index] and question.metadata["options"] == options


@pytest.mark.parametrize(
    "row",
    [
        mmlu(["a", "b"], 0, answer="B"),
        mmlu(["a", "b"], 2),
        mmlu(["a", "b"], -1),
        mmlu(["a"], 0),
        mmlu(list("abcdefghijk"), 0),
    ],
    ids=["letter and index disagree", "beyond the options", "before the options", "one option", "eleven options"],
)
def test_mmlu_pro_refuses_a_row_that_contradicts_itself(row: Row) -> None:
    with pytest.raises(SourceError, match="mmlu-pro: row 0"):
        collect(BENCHMARKS["mmlu-pro"], [row])


def gpqa(identity: str) -> Row:
    return {
        "Record ID": identity, "Question": "Why?", "Correct Answer": "right\n", "Incorrect Answer 1": "one",
        "Incorrect Answer 2": " two", "Incorrect Answer 3": "three",
    }  # fmt: skip


def test_gpqa_shuffles_by_the_id_alone_and_evenly() -> None:
    orders, letters = Counter[tuple[str, ...]](), Counter[str]()
    for number in range(2400):
        question = only("gpqa-diamond", gpqa(f"rec{number}"))
        options = question.metadata["options"]
        assert question == only("gpqa-diamond", gpqa(f"rec{number}"))
        assert sorted(options) == ["one", "right", "three", "two"]
        assert options[ascii_uppercase.index(question.target)] == "right"
        assert question.prompt == "Why?\n\n" + "\n".join(f"{a}. {b}" for a, b in zip("ABCD", options, strict=True))
        orders[tuple(options)] += 1
        letters[question.target] += 1
    assert len(orders) == 24 and sum((n - 100) ** 2 / 100 for n in orders.values()) < 49.7  # chi-square, 23, p = 0.001
    assert set(letters) == set("ABCD")


def test_gpqa_order_is_fixed_for_ever() -> None:
    """A change here makes every earlier GPQA score another benchmark's."""
    assert only("gpqa-diamond", gpqa("recAAAAAAAAAAAAAA")).metadata["options"] == ["three", "right", "two", "one"]


def test_hle_keeps_letters_and_integers_and_counts_the_rest() -> None:
    row = {"id": "x", "question": "q", "image": "", "answer": "C", "answer_type": "multipleChoice", "category": "Math"}
    assert (only("hle", row).target, only("hle", row).grader) == ("C", "choice")
    exact = {**row, "answer_type": "exactMatch"}
    assert (only("hle", {**exact, "answer": " -42 "}).target, only("hle", {**exact, "answer": "-42"}).grader) == (
        "-42",
        "integer",
    )
    assert reason("hle", {**row, "image": "data:image/png;base64,AA"}) == "the question has a picture"
    assert "not one letter" in reason("hle", {**row, "answer": "A and B"})
    for words in ("Paris", "\\pi", "1.5", "007", "٣", "1,000", "10" * 10):
        assert "judge" in reason("hle", {**exact, "answer": words})
    with pytest.raises(SourceError, match="answer_type"):
        collect(BENCHMARKS["hle"], [{**row, "answer_type": "essay"}])


# ---------------------------------------------------------------- programs and puzzles


def test_humaneval_target_is_a_program_that_passes_its_test() -> None:
    """Run here and not in the sandbox: the canonical solutions are OpenAI's, not a model's."""
    questions, _ = collect(BENCHMARKS["humaneval"], excerpt("humaneval"))
    for question in questions:
        metadata = question.metadata
        assert question.grader == "code" and metadata["form"] == "function"
        assert metadata["stub"].strip() in question.prompt and question.target.startswith(metadata["stub"])
        names = {node.name for node in ast.parse(question.target).body if isinstance(node, ast.FunctionDef)}
        assert metadata["entry_point"] in names
        program = f"{question.target}\n{metadata['test']}\ncheck({metadata['entry_point']})\n"
        exec(compile(program, question.id, "exec"), {})
        with pytest.raises((AssertionError, TypeError)):
            body = f"{metadata['stub']}    return None\n{metadata['test']}\ncheck({metadata['entry_point']})\n"
            exec(compile(body, question.id, "exec"), {})


def test_temporal_clue_target_is_in_the_form_that_the_prompt_asks_for() -> None:
    for question in collect(BENCHMARKS["temporal-clue"], excerpt("temporal-clue"))[0]:
        asked = re.findall(r"^([A-Z])\. [A-Z]+$", question.prompt.split("in the following format:")[1], re.MULTILINE)
        assert asked == [line[0] for line in question.target.splitlines()] == list(question.metadata["solution"])
        for letter, answer in question.metadata["solution"].items():
            assert f"{letter}. {answer}" in question.target.splitlines()
            assert answer in question.prompt


def codeforces(**changes: Any) -> Row:
    row = {
        "id": "1/A", "title": "Theatre Square", "description": "Pave it.", "input_format": "Three integers.",
        "output_format": "One.", "note": None, "examples": [{"input": "6 6 4\n", "output": "4\n"}], "time_limit": 1.0,
        "memory_limit": 256.0, "rating": 1000, "official_tests": [{"input": "6 6 4\n", "output": "4\n"}],
        "official_tests_complete": True, "input_mode": "stdio", "interaction_format": None, "generated_checker": None,
        "executable": True,
    }  # fmt: skip
    return {**row, **changes}


def test_codeforces() -> None:
    question = only("codeforces", codeforces())
    assert question.metadata == {
        "form": "stdin", "tests": [{"input": "6 6 4\n", "output": "4\n"}], "time_limit_seconds": 1.0,
        "memory_limit_mb": 256.0, "rating": 1000,
    }  # fmt: skip
    for part in ("Theatre Square", "Pave it.", "Input\nThree integers.", "Example input\n6 6 4"):
        assert part in question.prompt
    assert "Note" not in question.prompt and "Note\nmind" in only("codeforces", codeforces(note="mind")).prompt
    for change, why in [
        ({"generated_checker": "int main() {}"}, "checker"), ({"interaction_format": "Ask."}, "interactive"),
        ({"input_mode": "file"}, "files"), ({"official_tests": []}, "tests"),
        ({"official_tests_complete": False}, "tests"), ({"official_tests": None}, "tests"),
        ({"executable": False}, "executable"), ({"description": None}, "description"),
    ]:  # fmt: skip
        assert why in reason("codeforces", codeforces(**change))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("You can print each letter in any case (upper or lower).", {"any_case": True}),
        ("Print YES or NO in any register.", {"any_case": True}),
        ("The strings yEs, Yes and YES will be recognized as a positive answer.", {"any_case": True}),
        ("The checker is case-insensitive.", {"any_case": True}),
        ("Your absolute or relative error should not exceed $$$10^{-6}$$$.", {"tolerance": 1e-6}),
        ("The absolute or relative error must not exceed 10 - 9.", {"tolerance": 1e-9}),
        ("It is accepted if the error is at most 1e-4.", {"tolerance": 1e-4}),
        ("Print the area with precision 0.001.", {"tolerance": 1e-3}),
        ("It is accepted if $$$\\frac{|a - b|}{\\max{(1, |b|)}} \\le 10^{-6}$$$.", {"tolerance": 1e-6}),
        ("Print the answer with at least six digits of precision.", "within an error"),
        ("If there are several answers, print any of them.", "many right outputs"),
        ("If there are multiple solutions, output any.", "many right outputs"),
        ("If several sequences fit, print one of them.", "many right outputs"),
        ("If there is more than one solution, you may find any.", "many right outputs"),
        ("Print the edges in any order.", "many right outputs"),
        ("For each test case, output any array that fits.", "many right outputs"),
        # these fix the output
        ("If there are several answers, print the lexicographically smallest one.", {}),
        ("Print the number of different solutions modulo 10^9 + 7.", {}),
        ("He may choose any city with |x - y| \\le 5. Print one integer.", {}),
    ],
)
def test_what_a_statement_says_of_its_outputs_is_graded_or_left_out(text: str, expected: Any) -> None:
    row = codeforces(output_format=text)
    if isinstance(expected, str):
        assert expected in reason("codeforces", row) and expected in reason("ioi", ioi(problem=text))
    else:
        metadata = only("codeforces", row).metadata
        assert {key: metadata[key] for key in ("any_case", "tolerance") if key in metadata} == expected
        if expected:
            assert "any case, or within an error" in reason("ioi", ioi(problem=text))


def ioi(**changes: Any) -> Row:
    row = {
        "year": 2024, "id": "nile", "name": "Nile", "subtask": "01-one", "statement": "S", "problem": "P", "score": 6.0,
        "time_limit": 2.0, "memory_limit": 2**31, "task_type": "Batch", "test_names": ["1-01", "1-02"],
        "starting_code": "int f();", "grader_files": [["./grader.cpp", "int main() {}"], ["nile.h", "int f();"]],
    }  # fmt: skip
    return {**row, **changes}


def test_ioi() -> None:
    metadata = only("ioi", ioi()).metadata
    assert metadata["files"] == {"grader.cpp": "int main() {}", "nile.h": "int f();"} and metadata["form"] == "ioi"
    assert only("ioi", ioi(grader_files=[{"name": "a.h", "content": "x"}])).metadata["files"] == {"a.h": "x"}
    assert reason("ioi", ioi(task_type="Communication")) == "task of type Communication"
    assert "checker" in reason("ioi", ioi(grader_files=[["checker/chk.cpp", ""]]))
    assert "examples" in reason("ioi", ioi(score=0))
    assert reason("ioi", ioi(test_names=[])) == "no tests"
    rows = [
        {"year": 2024, "problem_id": problem, "test_name": name, "test_input": f"{problem} {name}", "test_output": "o"}
        for problem in ("nile", "hieroglyphs")
        for name in ("1-01", "1-02", "2-01")
    ]
    annex = BENCHMARKS["ioi"].annex
    assert annex is not None and set(rows[0]) == set(annex.source.columns)
    (joined,) = annex.join([only("ioi", ioi())], rows)
    tests = [{"input": f"nile {name}", "output": "o"} for name in ("1-01", "1-02")]
    assert isinstance(joined, Question) and joined.metadata == {**metadata, "tests": tests}
    assert annex.join([only("ioi", ioi())], rows[1:]) == [LeftOut("a test is not in open-r1/ioi-test-cases")]


# ---------------------------------------------------------------- answers stay


@pytest.mark.parametrize("name", ["gsm8k", "gsm8k-train", "humaneval", "temporal-clue"])
def test_what_goes_out_does_not_hold_the_gold(name: str) -> None:
    """The prompt is all that leaves; the worked solution and the canonical body must not be in it."""
    benchmark: Benchmark = BENCHMARKS[name]
    for row, question in zip(excerpt(name), collect(benchmark, excerpt(name))[0], strict=True):
        secret = {"humaneval": "canonical_solution"}.get(name, "answer")
        if secret in row:
            assert row[secret].strip() not in question.prompt
        else:
            assert question.target not in question.prompt
