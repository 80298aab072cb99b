"""Inputs and their right values, by the kind of fault that graders have with them: the table of docs/graders.md.

Each row of maths is asked of both strict graders: by value (maths.py) and by how it is written (latex.py). What is
strictly right is leniently right too.
"""

from __future__ import annotations

import pytest
from graders import choice, completion, integer, maths, needs_math_verify

from harness.answers.latex import Latex
from harness.answers.latex_spelling import read
from harness.answers.latex_tokens import joined
from harness.frozen.format import Sample

# kind: gold answer, what it equals, what it does not equal
MATHS: dict[str, list[tuple[str, list[str], list[str]]]] = {
    "lists and grouped numbers": [
        ("3125", ["3,125", "3{,}125", "3,\\!125", "3\\,125"], ["3, 125", "3,\\ 125", "3, 1, 25", "3;125", "(3,125)"]),
        ("3, 125", ["125, 3", "\\{3, 125\\}"], ["3125", "3,125", "(3, 125)", "3, 125, 125"]),
        ("1, 100", ["100, 1", "100,1"], ["1100", "1,100", "1", "1, 101"]),
        ("-1, 100", ["100, -1", "100,-1"], ["-1100", "-1,100", "1, 100"]),
        ("x=1, x=100", ["x=100, x=1", "1, 100", "x=1, 100"], ["x=1,100", "1100", "y=1, y=100", "x=1"]),
        ("200, 300, 400", ["400, 200, 300"], ["200300400", "200, 300", "200,300400"]),
        ("1,234, 5,678", ["5678, 1234", "1234, 5,678"], ["1, 234, 5, 678", "12345678"]),
        ("125", ["125.0"], ["0,125", "1, 25"]),
        ("12, 345, 678", ["678, 12, 345"], ["12345678", "12,345,678"]),
        ("(1,234)", ["(1, 234)"], ["1234", "1,234", "(234,1)"]),
    ],
    "plus or minus": [
        (
            "1 \\pm \\sqrt{19}",
            [
                "1+\\sqrt{19}, 1-\\sqrt{19}", "1-\\sqrt{19}, 1+\\sqrt{19}", "x = 1 ± \\sqrt{19}",
                "\\{1 \\pm \\sqrt{19}\\}",
            ],
            ["1+\\sqrt{19}", "\\pm 1 + \\sqrt{19}", "1+\\sqrt{19}, 1+\\sqrt{19}"],
        ),
        ("2, -2", ["\\pm 2", "-2, 2", "x=\\pm2"], ["2", "-2", "\\pm 3"]),
        ("x = \\pm 3", ["3, -3", "x=3 \\text{ or } x=-3", "x=-3, x=3"], ["3", "x=3", "y=\\pm 3"]),
        (
            "\\frac{1+\\sqrt{5}}{2}, \\frac{1-\\sqrt{5}}{2}",
            ["\\frac{1 \\pm \\sqrt5}{2}"],
            ["\\frac{1+\\sqrt{5}}{2}", "\\frac{-1 \\pm \\sqrt5}{2}"],
        ),
        ("2+i, 2-i", ["2 \\pm i"], ["2 \\pm 2i", "2+i"]),
        ("(3,4), (3,-4)", ["(3,\\pm 4)"], ["(\\pm 3,4)", "(3,4)"]),
        ("5", ["5"], ["\\pm 5", "5 \\pm 0"]),
        ("\\sqrt{2}+\\sqrt{3}, -\\sqrt{2}-\\sqrt{3}", [], ["\\pm\\sqrt{2} \\pm\\sqrt{3}"]),  # two answers or four?
    ],
    "units": [
        ("864 \\mbox{ inches}^2", ["864", "864\\text{ inches}^2"], ["864\\text{ inches}^3", "864^2"]),
        ("2\\text{ hours and 30 minutes}", ["2 \\text{ hours and 30 minutes}"], ["2", "2\\text{ hours}", "30"]),
        ("5 \\mathrm{~cm}^{3}", ["5", "5\\text{cm}^3"], ["5\\text{ cm}^2", "5\\text{ m}^3", "53"]),
        ("10\\text{ m/s}^2", ["10", "10\\text{ m}/\\text{s}^2"], ["10\\text{ m/s}", "100"]),
        ("10\\text{ m}/\\text{s}", ["10", "10\\text{ m/s}"], ["10\\text{ m}"]),
        ("3\\text{ cm}^2, 4\\text{ cm}^2", ["3, 4", "4\\text{ cm}^2, 3\\text{ cm}^2"], ["3", "7"]),
        ("5\\text{ million}", ["5 \\text{ million}"], ["5"]),
        ("3\\text{ and a half}", [], ["3"]),
        ("6\\text{ feet 2 inches}", [], ["6", "62"]),
        ("4\\text{ dozen}", [], ["4"]),
        ("10", [], ["10\\text{ cm}^2", "10\\text{ or }11"]),
    ],
    "joined items": [
        ("1 \\text{ and } -5", ["-5, 1", "1, -5", "-5 \\text{ and } 1", "1 and -5"], ["1", "1, 5", "(1,-5)", "1-5"]),
        ("a=1 \\text{ or } a=-2", ["1, -2", "a=-2, a=1", "a=-2 or a=1", "-2\\text{ or }1"], ["a=1", "b=1, b=-2"]),
        ("1, 2, \\text{ and } 3", ["3, 2, 1", "1, 2 \\text{, and } 3"], ["1, 2", "1, 23"]),
        ("2 \\mbox{ or } 7", ["7, 2", "7 or 2"], ["2", "27"]),
        ("x=3 \\lor x=4", ["3, 4", "x=4 \\vee x=3"], ["3", "(3,4)"]),
        ("(1,2) \\text{ and } (3,4)", ["(3,4), (1,2)"], ["(1,2,3,4)", "(2,1), (3,4)"]),
        ("x<1 \\text{ or } x>3", ["x>3 \\text{ or } x<1", "x>3 or x<1"], ["x<1 \\text{ and } x>3", "x<1"]),
        ("x>1 \\text{ and } x<3", ["x<3 and x>1"], ["x>1 \\text{ or } x<3"]),
        ("x=1, y=2", ["y=2 \\text{ and } x=1"], ["x=1 \\text{ or } y=2", "1, 2"]),
        ("(1,2)", [], ["(1 \\text{ or } 2)", "1 \\text{ and } 2"]),
        ("18", [], ["17 \\text{ or } 18", "18 or 18", "17 and 18"]),
    ],
    "arguments without braces": [
        ("\\sqrt[3]{2}", ["\\sqrt[3]2", "\\sqrt[3] 2"], ["3\\sqrt{2}", "\\sqrt[2]3", "\\sqrt2"]),
        ("\\sqrt[4]{x}", ["\\sqrt[4]x"], ["\\sqrt[3]x"]),
        ("2\\sqrt[3]{5}", ["2\\sqrt[3]5"], ["2\\sqrt[5]3", "\\sqrt[3]{25}"]),
        ("\\sqrt[3]{\\pi}", ["\\sqrt[3]\\pi"], ["\\sqrt\\pi"]),
        ("\\frac{\\pi}{2}", ["\\frac\\pi2", "\\frac{\\pi}2"], ["\\frac2\\pi"]),
        ("\\frac{x}{3}", ["\\frac x3", "\\frac x 3"], ["\\frac3x"]),
    ],
    "mixed numbers": [
        ("\\frac{3}{2}", ["1 1/2", "1\\ 1/2", "1\\frac12", "1.5"], ["11/2", "1 2", "1 1/3", "-1 1/2"]),
        ("\\frac{11}{2}", ["5 1/2", "11/2"], ["1 1/2", "1\\frac12"]),
        ("12", ["12"], ["1 2", "1\\ 2", "1~2", "1\\quad 2"]),
        ("-\\frac{11}{4}", ["-2 3/4", "-2\\frac34"], ["2 3/4", "-23/4"]),
        ("\\frac{23}{4}", ["5 3/4"], ["2 3/4", "2\\;3/4"]),
        ("(\\frac{3}{2}, 4)", ["(1 1/2, 4)"], ["(11/2, 4)", "(1, 1/2, 4)"]),
        ("\\frac{5}{2}", ["2 1/2"], ["1 3/2", "1\\frac{3}{2}"]),
        ("1234", [], ["1 234", "12 34"]),
    ],
    "spelling": [
        ("42", ["\\fbox{42}", "\\boxed{\\text{42}}", "$\\fbox{42}$", "+42"], ["\\fbox{43}", "\\fbox{4}2"]),
        ("45", ["45°", "45^\\circ", "45^{°}", "45\\degree", "45º"], ["45°30'", "54°"]),
        ("[2,\\infty)", ["[2,+\\infty)", "[+2,+∞)"], ["(2,+\\infty)", "[2,-\\infty)"]),
        ("(-\\infty,\\infty)", ["(-\\infty,+\\infty)"], ["(-\\infty,+\\infty]"]),
        ("2+3i", ["2+3\\mathrm{i}", "2+3\\text{i}", "2+3\\mathrm i", "2+3\\imath"], ["2-3\\mathrm{i}", "2+3", "5"]),
        ("3i", ["3\\mathrm{i}"], ["3"]),
        ("|x|", ["\\lvert x\\rvert", "\\left\\lvert x\\right\\rvert", "\\vert x\\vert"], ["x", "\\lvert -y\\rvert"]),
        ("(3,4)", ["(x,y)=(3,4)", "(a,b) = (3, 4)", "(3,4)=(x,y)"], ["(y,x)=(3,4)", "(x,y)=(4,3)", "x=3,y=4,z=5"]),
        ("(x,y)=(3,4)", ["(3,4)", "y=4, x=3", "x=3 \\text{ and } y=4", "(y,x)=(4,3)"], ["(4,3)", "(a,b)=(3,4)"]),
        ("(1,2,3)", ["(x,y,z)=(1,2,3)"], ["(x,y)=(1,2,3)", "(z,y,x)=(1,2,3)"]),
        ("12.5\\%", ["12\\frac12\\%", "12 1/2\\%", "12.5"], ["12\\frac13\\%", "13\\%"]),
        ("33\\frac{1}{3}\\%", ["33\\frac13\\%", "33 1/3%"], ["33\\%", "33.3\\%"]),
        ("0.\\overline{3}", ["0.\\overline3", "\\frac{1}{3}"], ["0.3", "0.33333", "0.\\overline4"]),
        ("\\frac{1}{6}", ["0.1\\overline6"], ["0.\\overline{16}", "0.16"]),
        ("\\frac{1}{7}", ["0.\\overline{142857}"], ["0.142857"]),
        ("\\frac14", ["0.25", ".25", "1/4", "0.250"], ["0.26", "\\frac{2}{8}", "4"]),
        ("\\frac{7}{8}", ["0.875"], ["0.88"]),
        ("-\\frac{1}{2}", ["-0.5", "-.5", "\\frac{-1}2"], ["0.5"]),
    ],
}  # fmt: skip
ROWS = [pytest.param(*row, id=f"{kind}: {row[0]}") for kind, rows in MATHS.items() for row in rows]


@needs_math_verify
@pytest.mark.parametrize(("gold", "right", "wrong"), ROWS)
def test_by_value(gold: str, right: list[str], wrong: list[str]) -> None:
    assert [answer for answer in [gold, *right, *wrong] if maths.strict(answer, gold)] == [gold, *right]
    assert all(maths.grade(completion(answer), gold).lenient for answer in right)


@pytest.mark.parametrize(("gold", "right", "wrong"), ROWS)
def test_by_how_it_is_written(gold: str, right: list[str], wrong: list[str]) -> None:
    """The rewards of training sets. Boxed or not."""
    sample = Sample("q", "", f"\\boxed{{{gold}}}")
    for form in ("{}", "\\boxed{{{}}}"):
        accepted = [answer for answer in [gold, *right, *wrong] if Latex().strict(sample, form.format(answer))]
        assert accepted == [gold, *right]


@pytest.mark.parametrize(("gold", "right", "wrong"), ROWS)
def test_what_is_read_is_read_again(gold: str, right: list[str], wrong: list[str]) -> None:
    for answer in (gold, *right, *wrong):
        assert read(joined(read(answer))) == read(answer)


# ---------------------------------------------------------------- the copy guard

COPIES = [
    # problem, gold answer, an expression of the problem, is it the answer?
    ("Is it $\\frac{\\sqrt3}{2}$ or $\\frac12$?", "\\frac{\\sqrt{3}}{2}", "\\frac{\\sqrt3}{2}", True),
    ("Is $\\sqrt[3]2+1$ the larger?", "\\sqrt[3]{2}+1", "\\sqrt[3]2+1", True),
    ("Which of $(x+1)(x-1)$ and $x+1$ is it?", "(x-1)(x+1)", "(x+1)(x-1)", True),
    ("Is $\\dfrac{x}{2}$ or $x$ larger?", "\\frac{x}{2}", "\\dfrac x2", True),
    ("Is it $\\sqrt3/2$?", "\\frac{\\sqrt{3}}{2}", "\\sqrt3/2", True),
    ("Compute $\\frac{1}{\\sqrt3}$ without a root below.", "\\frac{\\sqrt{3}}{3}", "\\frac1{\\sqrt3}", False),
    ("Compute $\\frac1{\\sqrt3}$ without a root below.", "\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt{3}}", False),
    ("Factor $x^{2}-1$.", "(x-1)(x+1)", "x^2-1", False),
    ("Factor $x^2-1$.", "(x-1)(x+1)", "y = x^{2}-1", False),
    ("Write $0.\\overline{3}$ as a fraction.", "\\frac{1}{3}", "0.\\overline3", False),
    ("Write $1 1/2$ as an improper fraction.", "\\frac{3}{2}", "1\\frac{1}{2}", False),
    ("Write 12.5\\% as a fraction.", "\\frac{1}{8}", "12.5\\%", False),
    ("A shop takes off a 12.5\\% of the price.", "\\frac{1}{8}", "12.5\\%", False),
    ("Factor 2x + 2 fully.", "2(x+1)", "2x+2", False),
    ("Reflect $(1,2)$.", "(2,1)", "(1,2)", False),
]


@needs_math_verify
@pytest.mark.parametrize(("problem", "gold", "answer", "value"), COPIES)
def test_a_copy_of_the_problem(problem: str, gold: str, answer: str, value: bool) -> None:
    assert maths.strict(answer, gold, problem) is value
    assert maths.strict(gold, gold, problem)


# ---------------------------------------------------------------- integers and choices, lenient

INTEGERS: list[tuple[str, str | None]] = [
    ("\\boxed{12} is half of it: \\boxed{18\\text{ dollars}}", "18"),
    ("\\boxed{18\\text{ cm}^2}", "18"), ("\\boxed{12}, then \\boxed{\\mathbf{18}}", "18"),
    ("\\boxed{5} hours at \\boxed{18\\,\\text{m/s}}", "18"), ("\\boxed{7} \\fbox{\\$1{,}234.00}", None),
    ("so \\fbox{\\$1{,}234.00}", "1234"), ("\\boxed{x = \\text{18}}", "18"), ("\\boxed{10\\,000}", "10000"),
    ("\\boxed{\\frac34}", None), ("\\boxed{\\frac{3}{4}}", None), ("\\boxed{3/4}", None), ("\\boxed{1 1/2}", None),
    ("\\boxed{2^{10}}", None), ("\\boxed{18\\sqrt{2}}", None), ("\\boxed{9 \\cdot 2}", None), ("\\boxed{18!}", None),
    ("The answer is \\frac{3}{4}.", None), ("It is 3/4", None), ("so 2^5", None), ("The answer is 1 1/2", None),
    ("The answer is 18/3 = 6", "6"), ("\\boxed{17+1=18}", "18"),
    ("\\boxed{12, 18}", None), ("\\boxed{12 \\text{ or } 18}", None), ("\\boxed{12} or \\boxed{18}", None),
    ("\\boxed{12}, \\boxed{18}", None), ("\\boxed{12}\\boxed{18}", None), ("\\boxed{18} or \\boxed{18}", "18"),
    ("\\boxed{12} or rather \\boxed{18}", "18"), ("\\boxed{12} and \\boxed{18", None), ("\\boxed{18 \\pm 1}", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), INTEGERS)
def test_the_integer_of_a_text(text: str, value: str | None) -> None:
    for number in {"1", "2", "3", "4", "5", "6", "7", "9", "10", "12", "17", "18", "34", "1234", "1024", "10000"}:
        assert integer.lenient(text, number) is (number == value)


CHOICES: list[tuple[str, str | None]] = [
    ("\\boxed{E: text}", "E"), ("\\boxed{E. A dog}", "E"), ("\\boxed{(E) A dog}", "E"),
    ("\\boxed{\\textbf{(E)}\\ 12}", "E"),
    ("\\boxed{\\text{E: the cell}}", "E"), ("\\fbox{E}", "E"), ("\\boxed{$E$}", "E"),
    ("\\boxed{B}, no:\n\\boxed{E}", "E"),
    ("\\boxed{A} or \\boxed{B}", None), ("\\boxed{A}, \\boxed{B}", None), ("\\boxed{A}\\boxed{B}", None),
    ("\\boxed{A} \\text{ or } \\boxed{B}", None), ("\\boxed{A} or B", None), ("A or \\boxed{B}", None),
    ("\\boxed{A: a dog or B: a cat}", None), ("\\boxed{C}, or \\boxed{A, B}", None), ("\\boxed{C}, so \\boxed{A", None),
    ("\\boxed{C} or rather \\boxed{AB}", None), ("\\boxed{A \\text{ or } B}", None),
    *((text, None) for hedge in ("A; B", "A|B", "A-D", "A–D", "A to D", "A + B", "A~B", "A | B", "A; or B", "(A)/(B)")
      for text in (hedge, f"Answer: {hedge}", f"The answer is {hedge}.", f"\\boxed{{{hedge}}}")),
    ("The answer is A? or B?", None), ("The answer is A (or B)", None), ("Answer: A, or B.", None),
    ("The answer is E; B is wrong.", "E"), ("Answer: E - the cell", "E"), ("The answer is E. B is wrong.", "E"),
    ("\\boxed{E}, because B is wrong", "E"), ("The answer is E (and not B)", "E"),
    ("\\boxed{E}; the option B is wrong", "E"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), CHOICES)
def test_the_letter_of_a_text(text: str, value: str | None) -> None:
    for letter in "ABCDEFGHIJ":
        assert choice.lenient(text, letter, 10) is (letter == value)
        if value is None:
            assert not choice.grade(completion(text), letter, 10).strict
