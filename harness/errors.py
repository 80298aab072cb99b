"""The one base class of every error that a user can do something about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import ValidationError


class NanoR1Error(ValueError):
    """What is wrong and where, in one sentence, and what to do about it. `nano-r1` prints it as one line.

    A ValueError, because that is what it is: a value from outside that cannot be used. Each room has its own
    subclasses, so that a caller can catch what it can handle. A subclass may set `advice` for all of its errors, and
    `exit_code` where it is not 2 (2: the request was wrong, and nothing was changed).
    """

    exit_code = 2
    advice = ""

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice or self.advice

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}; {self.advice}" if self.advice else message


def first_problem(error: ValidationError) -> str:
    """`field.of.a.field: what is wrong with it`: the first of what pydantic found."""
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":  # "Field required" would send the reader to a line that is not there
        return f"{field} is missing: add it"
    if first["type"] == "extra_forbidden":
        return f"{field} is not a field that is known here: remove it"
    return f"{field}: {first['msg']}"


class NoSuchName(NanoR1Error):
    """A name that names nothing: says which was meant, or where the names are listed."""

    def __init__(self, kind: str, name: str, names: Iterable[str], *, listed_by: str) -> None:
        super().__init__(f"there is no {kind} {name!r}", advice=meant(name, names) or f"`{listed_by}` lists them")


def meant(name: str, names: Iterable[str]) -> str:
    """`did you mean x?`, with up to three names that are spelt like this one; empty where none is."""
    from difflib import get_close_matches

    by_lower = {other.lower(): other for other in names}
    near = [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=3, cutoff=0.7)]
    return f"did you mean {' or '.join(near)}?" if near else ""


def meant_beside(path: Path) -> str:
    """`meant`, of the folders beside this one, or beside where it would be."""
    try:
        beside = [other.name for other in path.parent.iterdir() if other.is_dir() and other.name != path.name]
    except OSError:
        return ""
    return meant(path.name, beside)
