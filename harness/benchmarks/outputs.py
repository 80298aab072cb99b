"""What the statement of a programming problem says of its outputs: one is right, letters may be of any case, numbers
within an error, or many outputs are right, which only a checker program could tell.

Read from the words that contests use. Where a statement allows more than was understood the problem is left out: a
right program that prints another allowed output would be graded wrong.
"""

from __future__ import annotations

import re
from typing import Any

SEVERAL = "many right outputs: needs a checker program"
ERROR = "outputs within an error that the statement does not give in figures"

_SEVERAL = re.compile(
    r"""
    \b(?:print|output|find|return|report|construct|write|display)\W+(?:out\W+|only\W+)?
      (?:any\b(?!\W+(?:letter\W+)?(?:case|register))|one\W+of\b)
    | \bany\W+(?:one\W+)?of\W+(?:them\b|the\W+(?:\w+\W+){0,3}(?:answers?|solutions?)\b)
    | \bany\W+(?:(?:such|valid|correct|possible|suitable|optimal|appropriate|acceptable)\W+)*(?:answer|solution)\b
    | \bany\W+order\b | \barbitrary\W+order\b
    | \b(?:answer|solution)s?\W+(?:is|are)\W+not\W+(?:necessarily\W+)?unique\b
    | \bif\W+(?:there\W+)?(?:are|is|exists?|can\W+be)?\W*(?:several|multiple|many|more\W+than\W+one|various)\b
      (?![^.]{0,150}\b(?:lexicographic|smallest|minim|maxim|largest|least|greatest|first|earliest|lowest|highest))
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ANY_CASE = re.compile(
    r"\bin\W+(?:any|either|arbitrary)\W+(?:letter\W+)?(?:case|register)\b|\bcase[\W_]*insensitive(?:ly)?\b"
    r"|\brecogni[sz]ed\W+as\W+(?:an?\W+|the\W+)?(?:positive|negative)\b",
    re.IGNORECASE,
)
_ERROR = re.compile(
    r"\b(?:absolute|relative)\b[^.]{0,40}\berror|\berror\b[^.]{0,60}\b(?:exceed|at\W+most|less|smaller|within|10)"
    r"|\b(?:precision|accuracy|accurate|tolerance)\b",
    re.IGNORECASE,
)
# Speaks of an error if a small figure stands near it: `|a - b| \le 10^{-6}`, but not `|x - y| \le 5`.
_DIFFERENCE = re.compile(r"\bdiffer\w*\b|\|\s*\w+\s*[-−–]\s*\w+\s*\|", re.IGNORECASE)
# 10^{-6}, 10^-6, 10 - 6 (a superscript that was lost), 10**-6; 1e-6; 0.000001
_FIGURE = re.compile(
    r"(?<![\d.])10\s*(?:\^|\*\*)?\s*\{?\s*[-−–]\s*\{?\s*(?P<power>\d{1,2})(?!\d)"
    r"|(?<![\d.])1e\s*-\s*(?P<e>\d{1,2})(?!\d)|(?<![\d.])0\.(?P<zeros>0{1,12})1(?!\d)",
    re.IGNORECASE,
)
_REACH = 200  # characters around a word of error in which its size stands


def allowed(statement: str) -> dict[str, Any] | str:
    """What grading the outputs needs beside the tests (any_case, tolerance), or why the problem is left out."""
    if _SEVERAL.search(statement):
        return SEVERAL
    grading: dict[str, Any] = {"any_case": True} if _ANY_CASE.search(statement) else {}
    errors = list(_ERROR.finditer(statement))
    figures = [
        figure
        for error in (*errors, *_DIFFERENCE.finditer(statement))
        for figure in _FIGURE.finditer(statement, max(0, error.start() - _REACH), error.end() + _REACH)
    ]
    if errors and not figures:
        return ERROR
    if figures:  # the smallest: a wrong answer must not pass for a figure that was about something else
        grading["tolerance"] = 10.0 ** -max(_digits(figure) for figure in figures)
    return grading


def _digits(figure: re.Match[str]) -> int:
    if figure["zeros"]:
        return len(figure["zeros"]) + 1
    return int(figure["power"] or figure["e"])
