"""Whole files of public data sets, which this project does not ship: from the folder that NANO_R1_TEST_DATA names.

Without the variable, from ../shared/data beside the repository. Tests that need a file that is not there are skipped;
small excerpts in tests/data take their place.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

WHOLE = Path(os.environ.get("NANO_R1_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")


def needs(*files: str) -> pytest.MarkDecorator:
    """Skips a test where one of these is not there."""
    absent = [file for file in files if not (WHOLE / file).is_file()]
    reason = f"no {', '.join(absent)} in {WHOLE}; NANO_R1_TEST_DATA names the folder that has it"
    return pytest.mark.skipif(bool(absent), reason=reason)


def whole(file: str) -> Path:
    """The path of that file; skips the test that asks where it is not there."""
    if not (WHOLE / file).is_file():
        pytest.skip(f"no {file} in {WHOLE}; NANO_R1_TEST_DATA names the folder that has it")
    return WHOLE / file
