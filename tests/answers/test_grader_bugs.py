"""Bugs of other projects' graders, each as a test that ours does the right thing. Sources: docs/grader-bugs.md.

The number of a test is the number of its row there.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from pathlib import Path

import pytest
from graders import choice, completion, failure, integer, maths, needs_math_verify
from needs import needs_sandbox

from harness.answers.code import Cases, Problem
from harness.answers.integer import gold_of
from harness.answers.maths import TOO_LONG, Maths, _pools
from harness.answers.pool import Pool
from harness.frozen.format import Sample
from harness.isolation import command_line
from harness.isolation.sandbox import SandboxError
from harness.tasks import TASKS

ADD = Problem(
    prompt='def add(a, b):\n    """The sum."""\n',
    entry_point="add",
    tests="def check(candidate):\n    assert candidate(2, 3) == 5\n    assert candidate(-2, 3) == 1\n",
)
RIGHT = "def add(a, b):\n    return a + b\n"


# ---------------------------------------------------------------- maths


@needs_math_verify
def test_01_a_tower_of_powers_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool("harness.answers.equivalence_worker", size=1, cpu_seconds=1, wall_seconds=30)
    monkeypatch.setitem(_pools, os.getpid(), pool)
    bomb = "\\dfrac{5^{\\left(5^{\\left(5^{\\left(5^5\\right)}\\right)} - 4\\right)} - 5}{16}"
    given = maths.grade(f"\\boxed{{{bomb}}}", "2\\sqrt{7}")
    assert not given.lenient and given.why == TOO_LONG
    pool.close()


@needs_math_verify
def test_02_nested_logarithms_neither_hang_nor_fill_the_memory() -> None:
    text = "\\log_{2^5}(\\log_{2^4}(\\log_{2^3}(\\log_{2^2}(\\log_{2^1}x))))"
    assert not maths.grade(completion(text), "65536").strict
    assert maths.strict("65536", "2^{16}")


@needs_math_verify
def test_03_a_thread_may_grade() -> None:
    right: list[bool] = []
    thread = threading.Thread(target=lambda: right.append(maths.strict("0.5", "\\frac{1}{2}")))
    thread.start()
    thread.join()
    assert right == [True]


@needs_math_verify
@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("\\frac{1}{2004!}", "\\frac{1}{2006!}"), ("\\frac{1}{2^{99}}", "\\frac{1}{2^{98}}"),
        ("n=2, 3, 4", "n=1, 2, 3"),
        ("D = (0, 1)", "D = (0, 1.5)"), ("19, 46, \\text{ and } 82", "21, 36, and 82"),
        ("1 - \\frac{1}{\\mathrm{e}}", "1 + \\frac{1}{\\mathrm{e}}"),
        ("\\frac{2^{2005}+1}{3 \\cdot 2^{2006}}", "\\frac{1}{3 \\cdot 2^{2006}}"), ("\\pm 2021", "2021"),
        ("12:00", "1:00"),
        ("1, 2, \\ldots, n", "1, 3, 5, \\ldots, 2n-1"), ("1:2:3:\\ldots", "1:4:9:\\ldots"),
        ("F_n = \\sum_{k=0}^{n-1} F_k F_{n-k-1}", "F_n = \\sum_{k=0}^{n-2} F_k F_{n-k-2}"),
    ],
)  # fmt: skip
def test_04_different_answers_are_different(gold: str, answer: str) -> None:
    assert not maths.strict(answer, gold)


@needs_math_verify
def test_05_a_root_that_is_no_latex_is_not_dropped() -> None:
    assert not maths.strict("4\\sqrt(2)", "4")


@needs_math_verify
def test_06_two_equations_do_not_both_become_zero() -> None:
    assert not maths.strict("3x + 4y + 14=0", "3*x-1*y+13=0")
    assert not maths.strict("0=0", "3*x-1*y+13=0")


@needs_math_verify
def test_07_a_number_as_text_is_that_number() -> None:
    assert maths.strict("\\text{13}", "13") and maths.strict("13", "\\text{13}")


@needs_math_verify
def test_08_the_order_of_gold_and_answer_decides_nothing() -> None:
    interval, inequality = "m \\in [\\sqrt{2}, +\\infty)", "m \\geq \\sqrt{2}"
    assert maths.strict(interval, inequality) == maths.strict(inequality, interval)


@needs_math_verify
def test_09_two_ellipses_are_compared_without_an_error() -> None:
    given = maths.grade(completion("\\frac{x^2}{16} + \\frac{y^2}{12} = 1"), "\\frac{x^2}{4} + \\frac{y^2}{3} = 1")
    assert not given.strict and given.why is None


@needs_math_verify
def test_10_a_box_without_braces_is_no_crash() -> None:
    assert not maths.grade("Mark your solution with \\boxed ", "7").lenient
    assert not maths.grade(completion("\\boxed "), "7").strict


@needs_math_verify
def test_11_display_brackets_are_read() -> None:
    assert maths.grade("Thus the answer is \\[ \\boxed{42} \\]", "42").lenient
    assert maths.strict("\\[ \\boxed{42} \\]", "42")


@needs_math_verify
@pytest.mark.parametrize(
    "gold", ["\\begin{pmatrix}1\\\\2", "10,\\! 080", "\\text{Navin}", "6 - 5i", "f(x)=|x|", "2\\frac{1}{2}"]
)
def test_12_every_gold_answer_equals_itself(gold: str) -> None:
    assert maths.grade(completion(gold), gold).strict


@needs_math_verify
def test_13_a_plain_number_is_right_by_every_rule() -> None:
    given = maths.grade(completion("243"), "243")
    assert given.strict and given.lenient


@needs_math_verify
def test_14_an_unreadable_gold_answer_pays_nobody() -> None:
    for answer in ("", "1", "\\frac{64}{400}", "I do not know"):
        given = maths.grade(completion(answer), "Anya needs to climb one floor; Vanya five.")
        assert not given.strict and not given.lenient


@needs_math_verify
@pytest.mark.parametrize("end", ["\\boxed{", "\\boxed{}", "\\boxed{5"])
def test_15_an_unfinished_last_box_does_not_bring_back_an_earlier_one(end: str) -> None:
    assert not maths.grade(completion(f"\\boxed{{5}} or rather {end}"), "5").strict


@needs_math_verify
def test_16_a_long_answer_is_read_to_its_beginning() -> None:
    gold = "+".join(f"{n}x^{{{n}}}" for n in range(2, 30))
    assert 150 < len(gold) < Maths.longest
    assert maths.strict(f"\\boxed{{{gold}}}", gold)
    assert not maths.strict(f"\\boxed{{7{gold}}}", gold)


@needs_math_verify
def test_17_an_answer_is_taken_out_of_its_box_once() -> None:
    assert maths.strict("\\boxed{5}", "5") and maths.strict("5", "5")


@needs_math_verify
def test_18_one_grade_a_completion_and_the_whole_answer_in_it() -> None:
    grades = [maths.grade(text, "5") for text in ("I don't know.", "", completion("137"), completion("5"), "\\boxed{")]
    assert [given.strict for given in grades] == [False, False, False, True, False]
    assert [given.answer for given in grades] == [None, None, "137", "5", None]


@needs_math_verify
def test_19_a_tower_in_the_text_does_not_hang_the_lenient_rule() -> None:
    text = " Final Answer:\nThe last three digits of \\(2003^{2002^{2001}}\\) are:\n\\[Answer: 009\\]"
    assert not maths.grade(text, "8").strict


def test_20_waiting_in_the_queue_is_not_on_the_clock() -> None:
    pool = Pool("tests.pool_worker", size=2, cpu_seconds=5, wall_seconds=2)
    answers: list[dict[str, object] | None] = []
    threads = [threading.Thread(target=lambda: answers.append(pool.ask({"sleep": 0.6}))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.close()
    assert [given and given["slept"] for given in answers] == [0.6] * 8


# ---------------------------------------------------------------- integers


def test_21_money_is_a_number() -> None:
    assert integer.lenient("the total cost of Rory's delivery order is $29.00.", "29")


def test_22_the_target_is_the_answer_and_not_the_solution() -> None:
    solution = "So he made a profit of 200,000-130,000=$<<200000-130000=70000>>70,000\n#### 70000"
    assert gold_of(solution) == "70000"
    assert integer.grade(completion("70000", solution), "70000").strict


def test_23_the_last_mark_counts_not_a_recited_example() -> None:
    assert integer.lenient("As in the example, #### 6. Here: #### 18", "18")
    assert not integer.lenient("As in the example, #### 18. Here: #### 6", "18")


def test_24_a_comma_is_no_number() -> None:
    assert integer.lenient("The answer is 72, in total, so the farmer earns that much.", "72")


def test_25_a_comma_behind_the_number_does_not_swallow_it() -> None:
    assert integer.lenient("The total is 72 clips, altogether.", "72")


def test_26_an_answer_followed_by_text_is_not_cut_away() -> None:
    tail = " and the reasoning above confirms this result is consistent." * 8
    assert integer.lenient("2+40=42\n#### 42\n" + tail, "42")


def test_27_the_sign_stays() -> None:
    assert integer.lenient("\\boxed{-7}", "-7") and integer.lenient("#### -7", "-7")
    assert not integer.lenient("\\boxed{7}", "-7") and not integer.lenient("#### -7", "7")


def test_28_dollars_and_thousands_are_one_number() -> None:
    assert integer.lenient("The answer is $1,234.00", "1234")
    assert not integer.lenient("The answer is $1,234.00", "234")


def test_29_a_line_that_shows_its_sum_gives_the_result() -> None:
    assert integer.lenient("Answer: m+n = 256+37 = 293", "293")
    assert not integer.lenient("Answer: m+n = 256+37 = 293", "256")


@pytest.mark.parametrize("answer", ["5.0", "5e0", "٥", "0_5", "05", "+5", " \t5", "5." + "0" * 50])
def test_30_what_float_reads_is_not_the_asked_form(answer: str) -> None:
    assert float(answer) == 5
    assert not integer.grade(completion(answer), "5").strict


def test_31_a_comparison_is_no_expression() -> None:
    sample = Sample("countdown/0", "", "", {"numbers": [38, 80, 96], "target": 1})
    assert eval("38<80<96") == 1
    assert not TASKS["countdown"].accepts(sample, "38<80<96")


def test_32_two_stars_are_no_operator_and_hang_nobody() -> None:
    sample = Sample("countdown/0", "", "", {"numbers": [9, 9, 9], "target": 1})
    start = time.process_time()
    assert not TASKS["countdown"].accepts(sample, "99**99**99")
    assert not TASKS["countdown"].accepts(Sample("", "", "", {"numbers": [7, 2, 3], "target": 1}), "7//2//3")
    assert time.process_time() - start < 0.01


# ---------------------------------------------------------------- multiple choice


def test_33_the_a_of_another_answer_is_no_option() -> None:
    assert not choice.lenient("Antwort:\n\nAntwort: C", "A", 4)
    assert not choice.lenient("Answer:\n\nAnswer: C", "A", 4) and choice.lenient("Answer:\n\nAnswer: C", "C", 4)


def test_34_letters_inside_a_formula_are_no_option() -> None:
    text = "so $\\boxed{\\langle H\\rangle \\ll \\Delta E}$.\n\n**Answer: D**"
    assert choice.lenient(text, "D", 10) and not choice.lenient(text, "E", 10)


def test_35_a_letter_behind_the_stated_answer_does_not_overwrite_it() -> None:
    assert choice.lenient("The answer is B. Note that A is a common distractor.", "B", 4)
    assert choice.lenient("The answer is C because I computed the integral.", "C", 10)


def test_36_the_first_capital_of_answer_is_no_option() -> None:
    assert choice.lenient("Answer: **D**", "D", 4) and not choice.lenient("Answer: **D**", "A", 4)
    assert choice.lenient("I considered (A), but it is incorrect. Final answer is D.", "D", 4)


def test_37_seems_is_no_option() -> None:
    text = "The calculated answer is 11.\n\nAnswer seems to be A.\n\nAnswer: A\n"
    assert choice.lenient(text, "A", 26) and not choice.lenient(text, "S", 26)


@pytest.mark.parametrize("text", ["ANSWER: A", "ANSWER: **A**", "ANSWER: $A$"])
def test_38_bold_and_dollars_do_not_hide_the_letter(text: str) -> None:
    assert choice.lenient(text, "A", 4)


def test_39_brackets_do_not_hide_the_letter() -> None:
    assert choice.lenient("Therefore, the answer is (A).", "A", 10)


def test_40_no_answer_is_no_random_answer() -> None:
    text = "Sorry, I can't recognize the image"
    assert not any(choice.grade(text, letter, 10).lenient for letter in "ABCDEFGHIJ")


def test_41_the_answer_counts_and_not_the_thought() -> None:
    text = "<think>The answer is (A). Or rather not.</think>The answer is (C)."
    assert choice.lenient(text, "C", 4) and not choice.lenient(text, "A", 4)


def test_42_all_options_at_once_are_no_answer() -> None:
    for letter in "ABC":
        given = choice.grade(completion("A or B or C"), letter, 3)
        assert not given.strict and not given.lenient


def test_43_an_empty_answer_is_part_of_no_gold_answer() -> None:
    assert not choice.grade(completion(""), "A", 4).lenient
    assert not integer.grade(completion(""), "5").lenient


# ---------------------------------------------------------------- programs


@needs_sandbox
def test_44_a_program_is_really_run() -> None:
    assert failure(RIGHT, ADD) is None
    assert failure("def add(a, b):\n    return 0\n", ADD) == "AssertionError: "


@needs_sandbox
def test_45_the_list_of_results_is_in_no_frame_of_the_program() -> None:
    program = (
        "import sys\ndef add(a, b):\n    frame = sys._getframe()\n    while frame:\n"
        "        for value in frame.f_locals.values():\n"
        "            if isinstance(value, list): value.insert(0, 'passed')\n"
        "        frame = frame.f_back\n    raise BaseException"
    )
    assert failure(program, ADD) == "the program raised BaseException"


@needs_sandbox
def test_46_an_object_that_equals_everything_does_not_travel() -> None:
    program = "class Yes:\n    def __eq__(self, other): return True\ndef add(a, b): return Yes()"
    assert failure(program, ADD) == "the program raised TypeError"


@needs_sandbox
def test_47_patching_the_test_runner_changes_nothing() -> None:
    program = (
        "import builtins, os, sys, unittest\nunittest.TestCase.assertEqual = lambda *_: None\n"
        "builtins.AssertionError = Exception\nsys.exit = os._exit = lambda *_: None\ndef add(a, b): return b'dummy'"
    )
    assert failure(program, ADD) == "AssertionError: "


@needs_sandbox
def test_48_exit_code_0_is_no_pass() -> None:
    assert failure("raise SystemExit(0)", ADD) == "the program raised SystemExit"
    assert failure("import os\nos._exit(0)", ADD) == "the program ended before it had answered"


@needs_sandbox
def test_49_printed_passes_are_no_pass() -> None:
    program = "print('test_add PASSED\\n1 passed, 0 failed')\ndef add(a, b):\n    print('PASSED')\n    return 0"
    assert failure(program, ADD) == "AssertionError: "


@needs_sandbox
def test_50_no_tests_are_no_pass() -> None:
    empty = Problem(ADD.prompt, "add", "def check(candidate):\n    for case in []:\n        assert candidate(*case)\n")
    assert failure(RIGHT, empty) == "the tests never called the program"


@needs_sandbox
def test_51_test_data_are_where_the_program_cannot_write() -> None:
    tests = (
        "import os\ndef check(candidate):\n    points = [1, 2, 3]\n"
        "    open('/tmp/points.txt', 'w').write(repr(points))\n"
        "    values = candidate(points)\n    assert values == [1, 4, 9] and points == [1, 2, 3]\n"
    )
    program = (
        "def squares(points):\n    open('/tmp/points.txt', 'w').write('[0, 0, 0]')\n    points[:] = [0, 0, 0]\n"
        "    return [0, 0, 0]"
    )
    assert failure(program, Problem("def squares(points): pass\n", "squares", tests)) == "AssertionError: "


@needs_sandbox
def test_52_a_daemon_cannot_forge_the_verdict() -> None:
    program = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        for _ in range(100):\n"
        "            for path in ('/output/reward.txt', '/tmp/reward.txt', '/dev/shm/reward.txt'):\n"
        "                open(path, 'w').write('1.0')\n            time.sleep(0.05)\n    os._exit(0)\n"
        "def add(a, b): return 0"
    )
    assert failure(program, ADD) is not None


def test_53_a_machine_without_a_sandbox_is_no_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "bwrap", lambda *_: ["/nowhere/bwrap"])
    with pytest.raises(SandboxError):
        failure(RIGHT, ADD)


@needs_sandbox
def test_54_a_slow_program_has_time_enough() -> None:
    program = "import time\nstart = time.process_time()\nwhile time.process_time() - start < 1: pass\n" + RIGHT
    assert failure(program, ADD) is None


@needs_sandbox
def test_55_far_below_zero_is_no_root() -> None:
    rows = (Path(__file__).parents[1] / "data" / "graders" / "humaneval.jsonl").read_text(encoding="utf-8").splitlines()
    row = next(row for row in map(json.loads, rows) if row["task_id"] == "HumanEval/32")
    program = (
        "def find_zero(xs):\n    value = lambda x: sum(c * x ** i for i, c in enumerate(xs))\n"
        "    return min((value(x), x) for x in (-1000.0, 1000.0))[1]\n"
    )
    assert failure(program, Problem(row["prompt"], row["entry_point"], row["test"])) == "AssertionError: "


@needs_sandbox
def test_56_a_memory_bomb_hits_itself_alone() -> None:
    results: dict[str, str | None] = {}
    programs = {"bomb": "held = [bytearray(1 << 22) for _ in range(1000)]\n" + RIGHT, "right": RIGHT}

    def run(name: str) -> None:
        results[name] = failure(programs[name], ADD)

    threads = [threading.Thread(target=run, args=(name,)) for name in programs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {"bomb": "the program raised MemoryError", "right": None}


@needs_sandbox
def test_57_a_verdict_that_lies_there_already_is_not_read() -> None:
    program = (
        "for path in ('/output/reward.txt', '/output/model.safetensors', '/tmp/reward.txt'):\n"
        "    open(path, 'w').write('nan')\n"
        "def add(a, b): return float('nan')"
    )
    assert failure(program, ADD) == "AssertionError: "


@needs_sandbox
def test_58_programs_may_be_graded_in_any_thread() -> None:
    results: list[str | None] = []
    thread = threading.Thread(target=lambda: results.append(failure(RIGHT, ADD)))
    thread.start()
    thread.join()
    assert results == [None]


@needs_sandbox
def test_59_a_program_may_read_the_buffer_of_standard_input() -> None:
    program = "import sys\nprint(sum(map(int, sys.stdin.buffer.readline().split())))"
    assert failure(program, Cases((("2 3\n", "5\n"),))) is None


# ---------------------------------------------------------------- the page


def test_every_row_of_the_page_has_its_test_and_an_address() -> None:
    page = (Path(__file__).parents[2] / "docs" / "grader-bugs.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|.*\((https://github\.com/[\w./#-]+)\)", page, re.MULTILINE)
    tests = sorted(int(name[5:7]) for name in globals() if re.match(r"test_\d\d_", name))
    assert [int(number) for number, _ in rows] == tests == list(range(1, len(tests) + 1))
    assert len(rows) >= 30 and len({address for _, address in rows}) > len(rows) - 3
