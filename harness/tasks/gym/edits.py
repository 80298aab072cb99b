"""Corrections of questions and answers as reasoning-gym draws them; None has another question drawn."""

from __future__ import annotations

import re
from decimal import Decimal

from harness.tasks.gym.forms import Facts
from harness.tasks.gym.rules import written
from harness.tasks.gym.task import Edit


def unless_echo(key: str, between: str = "") -> Edit:
    """Not if the answer is what the question gives, so that copying pays nothing."""

    def edit(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
        return None if answer == (between.join(facts[key]) if between else str(facts[key])) else (question, answer)

    return edit


def as_shown(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """The gold answer as the question writes it, not with the noise of floating point."""
    shown = facts["formatted_candidates"][facts["candidates"].index(facts["solution"])]
    return question, f"{Decimal(shown.replace(',', '')).normalize():f}"


def without_half_turns(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """There are two ways to bring the bottom to the top, and they differ in where the other sides end."""
    return None if "bottom" in facts["rotations"] else (question, answer)


def in_integers(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    real, imaginary = facts["result"]
    return question, f"{real} {'-' if imaginary < 0 else '+'} {abs(imaginary)}i"


def asked_once(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """Not if two names fit."""
    description = facts["question"].removeprefix("Who ").partition("?")[0]
    return (question, answer) if question.count(f" {description}. ") == 1 else None


def convex(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """Not if the missing angle of the "convex" polygon makes it concave."""
    return (re.sub(r"(?<=[.?])(?=[RD])", " ", question), answer) if int(answer) < 180 else None


def dated(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """Dates with one reading: months by name, no leap year where no year is given, both dates in one year.

    As drawn, 04/07/2022 is in April or in July, a weekday after February depends on the kind of year, and behind a
    second date in the next year the first one's year is printed.
    """
    if facts.get("end_date", "2022")[:4] != "2022":
        return None
    if "first_day" in facts:
        return f"The year is not a leap year. {question}", answer
    return re.sub(r"\b([0-9]{2})/([0-9]{2})/(?=2022\b)", _with_the_month, question), answer


def _with_the_month(date: re.Match[str]) -> str:
    return f"{_MONTHS[int(date[1]) - 1]} {int(date[2])}, "


# Not calendar.month_name, which follows the locale.
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


def coloured(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """With a gold answer: the generator's own colouring, where there is an edge at all."""
    gold = {str(vertex): str(colour) for vertex, colour in facts["possible_answer"].items()}
    return (question, written(gold)) if facts["puzzle"]["edges"] else None


def composite(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    return None if len(facts["factors"]) == 1 else (question, answer)


def turned(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    return None if facts["solution"] == facts["matrix"] else (question, answer)


def filtered(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """Something stays, something goes, and no number is there twice: 75 and 75.0 are mixed up."""
    numbers = list(map(Decimal, facts["original_numbers"]))
    return (question, answer) if 0 < len(facts["result"]) < len(numbers) == len(set(numbers)) else None


def reordered(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    return None if facts["sorted_numbers"] == facts["original_numbers"] else (question, answer)


def of_three_letters(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    return (question, answer) if len(set(facts["letters"])) > 2 else None


def without_full_stop(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    return question, answer.removesuffix(".")


def in_rows(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """Each row of a grid in one word: the split ignores the order of words, and else would see how many of each."""
    lines = question.split("\n")
    return "\n".join(line.replace(" ", "") if _CELLS.fullmatch(line) else line for line in lines), answer


_CELLS = re.compile(r"[0-9XO*#](?: [0-9XO*#])+ *")


def feasible(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """A path of at least four steps."""
    return in_rows(question, answer, facts) if len(facts["solution"]) > 3 else None
