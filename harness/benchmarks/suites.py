"""Suites: named sets of generated tasks and fixed benchmarks, which any model can be asked (harness.evaluation).

Names only: neither a grader nor a sandbox is loaded here.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.benchmarks import BENCHMARKS
from harness.errors import NanoR1Error, meant
from harness.tasks import GENERATED

FILE = Path(__file__).with_suffix(".toml")


class SuiteError(NanoR1Error):
    """A suite that does not exist or cannot be asked; the message says what to do."""


class Suite(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    tasks: list[str] = []
    benchmarks: list[str] = []

    @property
    def parts(self) -> list[str]:
        return [*self.tasks, *self.benchmarks]


@cache
def suites() -> dict[str, Suite]:
    """Every suite of suites.toml, and `all`, which has every part once. Raises SuiteError."""
    try:
        tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
        named = {name: Suite.model_validate(table) for name, table in tables.items()}
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise SuiteError(f"{FILE}: {error}") from None
    for name, suite in named.items():
        for parts, existing in ((suite.tasks, list(GENERATED)), (suite.benchmarks, list(BENCHMARKS))):
            for part in parts:
                if part not in existing:
                    there = ", ".join(existing)
                    raise SuiteError(f"{FILE}: {name} has {part!r}, which does not exist; there are {there}")
    everything = Suite(
        title="Everything",
        tasks=list(dict.fromkeys(part for suite in named.values() for part in suite.tasks)),
        benchmarks=list(dict.fromkeys(part for suite in named.values() for part in suite.benchmarks)),
    )
    return {**named, "all": everything}


def load(name: str) -> Suite:
    """The suite of that name; a part's own name is a suite of that part. Raises SuiteError."""
    if name in suites():
        return suites()[name]
    if name in GENERATED:
        return Suite(title=name, tasks=[name])
    if name in BENCHMARKS:
        return Suite(title=name, benchmarks=[name])
    raise SuiteError(
        f"there is no suite {name!r}",
        advice=meant(name, [*suites(), *GENERATED, *BENCHMARKS])
        or f"suites: {', '.join(suites())}; any task or benchmark is one too",
    )


def cannot_be_asked(name: str) -> str | None:
    """Why a part of a suite cannot be asked by anyone, whatever the connection; None if it can."""
    missing = BENCHMARKS[name].unknown if name in BENCHMARKS else []
    return f"its {', '.join(missing)} was never pinned" if missing else None
