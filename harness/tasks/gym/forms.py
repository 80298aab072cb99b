"""Forms of answers of which one is right: how the form is asked for, when two answers are the same, what is near it."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from harness.frozen.format import Sample

Facts = dict[str, Any]  # what reasoning-gym says of an item besides its question and answer


@dataclass(frozen=True)
class Form:
    """`ask` ends the prompt. Answers are the same if their `canonical` shapes are; None is not of this form at all.

    `wrong` makes wrong answers out of a gold one. Everything is linear in the answer, which has at most 200 characters.
    """

    ask: str
    canonical: Callable[[str], Hashable | None]
    wrong: Callable[[str], list[str]]
    any_case: bool = False

    def facts(self, item: Facts) -> Facts:
        """What of an item's metadata a sample keeps, since `accepts` needs it: nothing."""
        return {}

    def accepts(self, sample: Sample, answer: str) -> bool:
        shape = self.canonical(answer)
        return shape is not None and shape == self.canonical(sample.target)

    def near_misses(self, sample: Sample) -> list[str]:
        return self.wrong(sample.target)


_PRINTABLE = re.compile(r"[ -~]+")
_INTEGER = re.compile(r"-?[1-9][0-9]*|0")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_FRACTION = re.compile(r"[1-9][0-9]*/[1-9][0-9]*")
_COMPLEX = re.compile(r"(-?(?:0|[1-9][0-9]*)) ?([-+]) ?(0|[1-9][0-9]*)i")
_ITEM = re.compile(r"""-?[0-9]+(?:\.[0-9]+)?|'-?[0-9]+(?:\.[0-9]+)?'|"-?[0-9]+(?:\.[0-9]+)?\"""")


def exact(text: str) -> str | None:
    return text if _PRINTABLE.fullmatch(text) else None


def words(text: str) -> str | None:
    """Capital or small, any number of spaces between."""
    return " ".join(text.lower().split()) if _PRINTABLE.fullmatch(text) else None


def claims(text: str) -> str | None:
    """As words, with `a` for `an`: a question may ask for "Emma is a angel/devil"."""
    shape = words(text)
    return None if shape is None else re.sub(r"\ban\b", "a", shape)


def tokens(text: str) -> tuple[str, ...] | None:
    return tuple(text.split()) if _PRINTABLE.fullmatch(text) else None


def commas(text: str) -> tuple[str, ...] | None:
    return tuple(part.strip() for part in text.split(",")) if _PRINTABLE.fullmatch(text) else None


def grid(text: str) -> tuple[tuple[str, ...], ...] | None:
    rows = text.split("\n")
    return tuple(tuple(row.split()) for row in rows) if all(map(_PRINTABLE.fullmatch, rows)) else None


def integer(text: str) -> str | None:
    return text if _INTEGER.fullmatch(text) else None


def decimal(text: str) -> Decimal | None:
    return Decimal(text) if _DECIMAL.fullmatch(text) else None


def fraction(text: str) -> str | None:
    return text if _FRACTION.fullmatch(text) else None


def complex_integer(text: str) -> tuple[int, int] | None:
    match = _COMPLEX.fullmatch(text)
    return (int(match[1]), int(match[2] + match[3])) if match else None


def number_list(text: str) -> tuple[str, ...] | None:
    """The numbers as they are written, in quotes or not."""
    if not (_PRINTABLE.fullmatch(text) and text[0] == "[" and text[-1] == "]"):
        return None
    items = [item.strip() for item in text[1:-1].split(",")]
    return tuple(item.strip("'\"") for item in items) if all(map(_ITEM.fullmatch, items)) else None


def factors(text: str) -> tuple[int, ...] | None:
    """In any order."""
    parts = [part.strip(" ") for part in text.split("*")]
    return tuple(sorted(map(int, parts))) if all(map(_INTEGER.fullmatch, parts)) else None


def near_text(gold: str) -> list[str]:
    return [
        gold[:-1],
        gold + gold[-1],
        f"x{gold}",
        gold[::-1] if gold[::-1].lower() != gold.lower() else f"{gold}?",
        f"not {gold}",
    ]


def near_integer(gold: str) -> list[str]:
    value = int(gold)
    return [
        str(value + 1), str(value - 1), str(-value) if value else "-0", f"0{gold}", f"+{gold}", f"{gold}.0", f"{gold}0",
        f"{gold}e0", f"0x{value:x}", f"{gold},000", f"{gold}/1", " ".join(str(value + i) for i in range(-9, 10)),
    ]  # fmt: skip


def near_decimal(gold: str) -> list[str]:
    value = Decimal(gold)
    step = Decimal(1).scaleb(int(value.as_tuple().exponent))
    return [
        f"{value + step:f}", f"{value - step:f}", f"{-value:f}" if value else "-", f"0{gold}", f"+{gold}", f"{gold}e0",
        f"{gold}5", f"{gold}/1", f"{value:.20E}", gold.replace(".", ",") if "." in gold else f"{gold},0", f"{gold}f",
    ]  # fmt: skip


def near_fraction(gold: str) -> list[str]:
    over, under = map(int, gold.split("/"))
    return [
        f"{over + 1}/{under}", f"{over}/{under + 1}", f"{over * 2}/{under * 2}", f"-{gold}", f"{over}",
        f"{over}:{under}", f"{over}//{under}", f"{over / under}", f"0{gold}", f"{over}.0/{under}",
        f"{under - over}/{over + 2 * under}",
    ]  # fmt: skip


def near_complex(gold: str) -> list[str]:
    real, sign, imaginary = gold.split(" ")
    return [
        f"{int(real) + 1} {sign} {imaginary}", f"{real} {sign} 1{imaginary}", f"{imaginary} {sign} {real}",
        f"{real}.0 {sign} {imaginary}", gold[:-1] + "j", gold[:-1], real, f"{sign}{imaginary}",
        f"({real}, {imaginary})",
    ]  # fmt: skip


def near_items(gold: str, between: str) -> list[str]:
    """Wrong lists of the gold one's items."""
    items = gold.split(between)
    others = [items[1:], items[:-1], [*items, items[-1]], [items[0], *items], items[::-1], items[1:] + items[:1]]
    return [
        *(between.join(other) for other in others if other and other != items), ";".join(items) + ";", gold + between,
        between + gold.strip() + between,
    ]  # fmt: skip


def near_tokens(gold: str) -> list[str]:
    return [wrong for wrong in near_items(gold, " ") if wrong.split() != gold.split()] + [f"[{gold}]", f"0 {gold}"]


def near_commas(gold: str) -> list[str]:
    return [*near_items(gold, ", "), f"[{gold}]", f"x, {gold}"]


def near_list(gold: str) -> list[str]:
    inside = gold[1:-1]
    return [*(f"[{wrong}]" for wrong in near_items(inside, ", ")), inside, f"[{gold}]", f"({inside})", gold + "]"]


def near_grid(gold: str) -> list[str]:
    rows = gold.split("\n")
    turned = [" ".join(column) for column in zip(*(row.split() for row in rows), strict=True)]
    others = [rows[::-1], rows[1:], rows[:-1], [*rows, rows[-1]], [row[::-1] for row in rows], turned]
    return ["\n".join(other) for other in others if other != rows] + [
        " ".join(rows),
        gold + " 0",
        "0 " + gold,
        f"[{gold}]",
    ]


def near_factors(gold: str) -> list[str]:
    parts = list(map(int, gold.split(" * ")))
    product = 1
    for part in parts:
        product *= part
    joined = [parts[0] * parts[1], *parts[2:]]
    return [
        f"{gold} * 1", f"1 * {gold}", str(product), " * ".join(map(str, joined)), " * ".join(map(str, parts[1:])),
        gold.replace("*", "+"), gold.replace("*", "x"), f"{gold} * {parts[0]}", f"{gold} = {product}", f"-{gold}",
    ]  # fmt: skip


INTEGER = Form("Answer with an integer in digits.", integer, near_integer)
DECIMAL = Form("Answer with the exact number in decimal digits, without separators.", decimal, near_decimal)
FRACTION = Form("Answer with a fraction in lowest terms, such as 3/7.", fraction, near_fraction)
COMPLEX = Form("Answer as a + bi or a - bi with integers, such as 3 - 4i or 0 + 2i.", complex_integer, near_complex)
EXACT = Form("Answer with these characters only.", exact, near_text)
WORDS = Form("Answer with the word only.", words, near_text, any_case=True)
CLAIMS = Form("Answer with the sentence only.", claims, near_text, any_case=True)
TOKENS = Form("Answer with the list only, separated by spaces.", tokens, near_tokens)
COMMAS = Form("Answer with the list only, separated by commas.", commas, near_commas)
LIST = Form("Answer with the list in square brackets, separated by commas.", number_list, near_list)
GRID = Form("Answer with one line for each row, its numbers separated by spaces.", grid, near_grid)
FACTORS = Form("Answer with the prime factors, separated by *.", factors, near_factors)
