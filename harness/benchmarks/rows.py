"""The rows of a data file, streamed: Parquet, JSON lines, a JSON list or CSV.

Parquet is read by pyarrow, which comes with `datasets`: that takes a path for a pattern, and in a folder `a?b` a file
may be read twice or be another's. JSON and CSV are read by the standard library, because `datasets` guesses types: it
turns an option "None" or "NA" into a missing value and a column of dates into timestamps.
"""

from __future__ import annotations

import csv
import gzip
import importlib
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from harness.benchmarks.remote import INSTALL, SourceError

Row = dict[str, Any]


def read(path: Path, columns: Iterable[str]) -> Iterator[Row]:
    """The rows of a .parquet, .jsonl, .json (one list) or .csv file, or of one packed with gzip.

    Raises SourceError if the file is no such thing, or if a row lacks one of the columns.
    """
    names = tuple(columns)
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind not in ("parquet", "jsonl", "json", "csv"):
        raise SourceError(f"{path} ends in none of .parquet, .jsonl, .json, .csv; name another file in the source")
    try:
        for number, row in enumerate(_parquet(path, names) if kind == "parquet" else _text(path, kind)):
            absent = [name for name in names if row.get(name, _ABSENT) is _ABSENT]
            if absent:
                raise SourceError(
                    f"{path}: row {number} has no column {absent[0]!r}, only {', '.join(map(str, row))}; the column "
                    "was renamed or this is another file: correct the source's columns or its files"
                )
            yield {name: row[name] for name in names}
    except SourceError:
        raise
    except (ValueError, EOFError, OSError, AttributeError, RecursionError, csv.Error, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the data
        reason = " ".join(str(error).split())[:200]
        raise SourceError(f"{path} is not readable as {kind} ({reason}); delete it and load it again") from None


_ABSENT = object()


def _text(path: Path, kind: str) -> Iterator[Row]:
    file: IO[str]
    with (
        gzip.open(path, "rt", encoding="utf-8", newline="")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8", newline="") as file
    ):
        if kind == "csv":
            header, *rows = csv.reader(file, strict=True)
            for row in rows:
                if row and len(row) != len(header):
                    raise ValueError(f"a row of {len(row)} cells under a header of {len(header)}")
                if row:
                    yield dict(zip(header, row, strict=True))
        elif kind == "json":
            yield from json.load(file)
        else:
            yield from (json.loads(line) for line in file if line.strip())


def _parquet(path: Path, columns: tuple[str, ...]) -> Iterator[Row]:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise SourceError(f"{path.name} is Parquet, for which `datasets` is needed: {INSTALL}") from None
    with path.open("rb") as opened:
        file = parquet.ParquetFile(opened)
        present = file.schema_arrow.names
        if set(columns) <= set(present):
            for batch in file.iter_batches(1024, columns=[*columns]):
                yield from batch.to_pylist()
        else:
            yield dict.fromkeys(present)  # a row by which `read` can say what is missing
