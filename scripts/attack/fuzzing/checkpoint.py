"""Corrupted safetensors files for harness.frozen.checkpoint.read.

The second opinion on what was accepted is the safetensors library's reading of names, shapes and dtypes, and the
exponent bits of every number.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import random
import re
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize

from fuzzing.tally import Tally, slow_again
from harness.frozen import checkpoint
from harness.tracks.track import load

READ_SECONDS = 1.0

# ---------------------------------------------------------------- the good ones

FLOATS = {"F64": (8, 11, 52), "F32": (4, 8, 23), "F16": (2, 5, 10), "BF16": (2, 8, 7)}  # bytes, exponent, mantissa bits
SMALL = {
    "embed.weight": ("F32", [3, 4]), "norm.weight": ("BF16", [4]), "half": ("F16", [2, 3]), "double": ("F64", [2]),
    "scale": ("F32", []), "empty": ("F32", [0, 5]), "größe": ("F32", [2]),
}  # fmt: skip
REAL_EVERY = 50  # one case in so many is made from the track's real base model


@dataclass(frozen=True)
class Base:
    path: Path
    tensors: dict[str, tuple[str, list[int], bytes]]  # dtype, shape, values


def base_at(path: Path) -> Base:
    tensors = {
        name: (item["dtype"], item["shape"], bytes(item["data"])) for name, item in deserialize(path.read_bytes())
    }
    return Base(path, tensors)


def small_base(path: Path) -> Base:
    """A file of 58 numbers with every width, a scalar, an empty tensor and a name beyond ASCII."""
    values = {name: bytes(math.prod(shape) * FLOATS[dtype][0]) for name, (dtype, shape) in SMALL.items()}
    tensors = {name: (dtype, shape, values[name]) for name, (dtype, shape) in SMALL.items()}
    path.write_bytes(Draft(Base(path, tensors), random.Random(0)).file())
    return base_at(path)


class Draft:
    """A checkpoint in pieces, as free in form as the format allows: orders, spaces, escapes, metadata.

    The header is kept as JSON texts, (name, value or fields) pairs, so that it can say what no library would write.
    """

    def __init__(self, base: Base, rng: random.Random) -> None:
        names = list(base.tensors)
        rng.shuffle(names)
        self.body = bytearray()
        self.ranges: dict[str, tuple[int, int]] = {}
        for name in names:
            begin = len(self.body)
            self.body += base.tensors[name][2]
            self.ranges[name] = begin, len(self.body)
        self.dtypes = {name: base.tensors[name][0] for name in names}
        rng.shuffle(names)
        self.entries: list[list[Any]] = []
        for name in names:
            dtype, shape, _ = base.tensors[name]
            fields = [["dtype", dtype], ["shape", shape], ["data_offsets", list(self.ranges[name])]]
            rng.shuffle(fields)
            self.entries.append([_quoted(name, rng), [[json.dumps(key), json.dumps(value)] for key, value in fields]])
        if rng.random() < 0.5:
            self.entries.insert(rng.randrange(len(names) + 1), ['"__metadata__"', [['"format"', '"pt"']]])
        self.space = rng.choice(["", "", " ", "\n", "\t "])
        self.tail = rng.choice(["", "", " " * rng.randrange(64), "\n\r\t"])
        self.whole: str | None = None  # instead of the entries

    def file(self) -> bytearray:
        text = _shown(self.entries, self.space) + self.tail if self.whole is None else self.whole
        header = text.encode("utf-8", "surrogatepass")
        return bytearray(len(header).to_bytes(8, "little") + header) + self.body

    def fields(self, *keys: str) -> list[list[str]]:
        """The [key, text] pairs of all tensors, or those with one of these keys."""
        pairs = [pair for _, value in self.entries if isinstance(value, list) for pair in value]
        return [pair for pair in pairs if not keys or pair[0] in keys]


def _quoted(name: str, rng: random.Random) -> str:
    if rng.random() < 0.05:
        at = rng.randrange(len(name))
        return f'"{name[:at]}\\u{ord(name[at]):04x}{name[at + 1 :]}"'
    return json.dumps(name, ensure_ascii=rng.random() < 0.5)


def _shown(value: Any, space: str) -> str:
    if isinstance(value, str):
        return value
    return "{" + f",{space}".join(f"{key}:{space}{_shown(inner, space)}" for key, inner in value) + "}"


# ---------------------------------------------------------------- corrupted headers

NAMES = [
    "", "scalé", "ѕcale", "scale\u202e", "\u2066scale\u2069", "scale\u200b", "\ufeffscale", "Scale", "scale ",
    "scale\x00", "\ud800", "../scale", "__metadata__", "__proto__", "scale" * 200, "<script>", "größe", "gro\u0308ße",
    "\U0001f600",
]  # fmt: skip
DTYPES = [*FLOATS, "F8_E4M3", "F4", "I64", "U8", "BOOL", "f32", "F32 ", "F３２", "", "C64", "F32\x00"]
ODD = [
    "null", "true", "false", "0", "1", "-1", "1.0", "1e9", "1e999", "-0", "NaN", "Infinity", "-Infinity", '""', '"F32"',
    "[]", "{}", "[[]]", "[null]", '{"format":"pt"}', '{"a":1,"a":2}', "01", "+1", "0x10", "'x'", '"\\ud800"',
    '"\\u0000"', "9" * 4000, "9" * 4301, "1" + "0" * 400, "2147483648", "18446744073709551616", "[0,0]", "[0,48]", "",
    ",", "}", "]",
]  # fmt: skip


def odd(rng: random.Random) -> str:
    """A JSON text where another was expected; sometimes deep, sometimes no JSON at all."""
    if rng.random() < 0.1:
        depth = rng.choice([2, 50, 500, 990, 1800])
        return rng.choice(["[" * depth + "]" * depth, '{"a":' * (depth // 2) + "1" + "}" * (depth // 2), "[" * depth])
    return rng.choice(ODD)


def odd_number(rng: random.Random, text: str) -> str:
    number = int(text)
    return rng.choice(
        [str(number + step) for step in (-8, -4, -1, 1, 2, 4, 8)]
        + [f"-{text}", f"{text}.0", f"{text}e0", f"0{text}", "-0", "true", f'"{text}"', "null", f"[{text}]", "", "NaN"]
        + [str(1 << bits) for bits in (31, 32, 47, 48, 63, 64)] + ["9" * 1000, "9" * 4000, "1e400", "٣", "３"]
    )  # fmt: skip


def h_again(rng: random.Random, draft: Draft) -> None:
    twin = copy.deepcopy(rng.choice(draft.entries))
    if rng.random() < 0.5:
        twin[1] = odd(rng)
    draft.entries.insert(rng.randrange(len(draft.entries) + 1), twin)


def h_drop(rng: random.Random, draft: Draft) -> None:
    del draft.entries[rng.randrange(len(draft.entries))]


def h_rename(rng: random.Random, draft: Draft) -> None:
    rng.choice(draft.entries)[0] = rng.choice(
        [json.dumps(rng.choice(NAMES), ensure_ascii=rng.random() < 0.5), odd(rng)]
    )


def h_extra(rng: random.Random, draft: Draft) -> None:
    end = len(draft.body)
    value = [['"dtype"', '"F32"'], ['"shape"', "[0]"], ['"data_offsets"', f"[{end},{end}]"]]
    draft.entries.append([json.dumps(rng.choice(NAMES)), value])


def h_entry(rng: random.Random, draft: Draft) -> None:
    rng.choice(draft.entries)[1] = odd(rng)


def h_fields(rng: random.Random, draft: Draft) -> None:
    values = [value for _, value in draft.entries if isinstance(value, list)]
    if not values or not (value := rng.choice(values)):
        return
    change = rng.randrange(4)
    if change == 0:
        value.append(list(rng.choice(value)))
    elif change == 1:
        del value[rng.randrange(len(value))]
    elif change == 2:
        rng.choice(value)[0] = rng.choice(['"dtype"', '"shape"', '"Shape"', '"d\\u0074ype"', '"x"', "1"])
    else:
        value.append([rng.choice(['"x"', '"strides"', '""']), odd(rng)])


def h_value(rng: random.Random, draft: Draft) -> None:
    if pairs := draft.fields():
        rng.choice(pairs)[1] = odd(rng)


def h_dtype(rng: random.Random, draft: Draft) -> None:
    if pairs := draft.fields('"dtype"'):
        rng.choice(pairs)[1] = json.dumps(rng.choice(DTYPES))


def h_number(rng: random.Random, draft: Draft) -> None:
    pairs = [pair for pair in draft.fields('"shape"', '"data_offsets"') if re.search("[0-9]", pair[1])]
    if pairs:
        pair = rng.choice(pairs)
        place = rng.choice(list(re.finditer("[0-9]{1,4000}", pair[1])))
        pair[1] = pair[1][: place.start()] + odd_number(rng, place[0]) + pair[1][place.end() :]


def h_shape(rng: random.Random, draft: Draft) -> None:
    if pairs := draft.fields('"shape"'):
        pair = rng.choice(pairs)
        sizes = [int(size) for size in re.findall("[0-9]{1,9}", pair[1])]
        ways = [sizes[::-1], [math.prod(sizes)], [*sizes, 1], [1, *sizes], [*sizes, 0], sizes[:-1], [], [1] * 900]
        pair[1] = json.dumps(rng.choice(ways))


def h_offsets(rng: random.Random, draft: Draft) -> None:
    pairs = draft.fields('"data_offsets"')
    if len(pairs) < 2:
        return
    first, second = rng.sample(pairs, 2)
    change = rng.randrange(4)
    if change == 0:
        first[1], second[1] = second[1], first[1]
    elif change == 1:
        first[1] = second[1]
    elif change == 2:
        step = rng.choice([-4, -2, -1, 1, 2, 4, 1 << 20])
        first[1] = re.sub("[0-9]{1,9}", lambda match: str(int(match[0]) + step), first[1])
    else:
        first[1] = json.dumps([int(end) for end in re.findall("[0-9]{1,9}", first[1])][::-1])


def h_metadata(rng: random.Random, draft: Draft) -> None:
    long = json.dumps({str(i): "x" * 9 for i in range(rng.choice([2, 100]))})
    values = ['{"format":"tf"}', '{"format":"pt","x":"y"}', '{"format":1}', "{}", "null", "[]", long, odd(rng)]
    draft.entries.append(['"__metadata__"', rng.choice(values)])


def h_whole(rng: random.Random, draft: Draft) -> None:
    text = _shown(draft.entries, draft.space)
    draft.whole = rng.choice(
        [odd(rng), f"[{text}]", " " + text, "\ufeff" + text, text + text, text + odd(rng), text[:-1]]
    )


def h_tail(rng: random.Random, draft: Draft) -> None:
    draft.tail = rng.choice([" ", "\x00", "\u00a0", "\u2028", "\x0b"]) * rng.choice([1, 100, 4000, 5000])


def h_bits(rng: random.Random, draft: Draft) -> None:
    """One number: NaN, infinity, the largest or the smallest finite, or noise."""
    name = rng.choice([name for name, (begin, end) in draft.ranges.items() if end > begin])
    width, exponent, mantissa = FLOATS[draft.dtypes[name]]
    begin, end = draft.ranges[name]
    at = rng.randrange(begin, end, width)
    ones = (1 << exponent) - 1
    bits = rng.choice(
        [
            ones << mantissa,
            ones << mantissa | rng.getrandbits(mantissa),
            (ones - 1) << mantissa,
            1,
            rng.getrandbits(8 * width),
        ]
    )
    draft.body[at : at + width] = (bits | rng.getrandbits(1) << (8 * width - 1)).to_bytes(width, "little")


def h_body(rng: random.Random, draft: Draft) -> None:
    size = rng.choice([1, 4, 60])
    if rng.random() < 0.5:
        draft.body += bytes(size)
    else:
        del draft.body[-size:]


HEADER: dict[str, Callable[[random.Random, Draft], None]] = {
    "a tensor twice": h_again, "a tensor missing": h_drop, "a tensor renamed": h_rename, "a tensor more": h_extra,
    "a tensor's entry": h_entry, "fields": h_fields, "a field's value": h_value, "a dtype": h_dtype,
    "a number": h_number, "a shape": h_shape, "offsets": h_offsets, "metadata": h_metadata, "the whole header": h_whole,
    "padding": h_tail, "bits of a number": h_bits, "length of the body": h_body,
}  # fmt: skip

# ---------------------------------------------------------------- corrupted bytes, corrupted files


def b_flip(rng: random.Random, data: bytearray, header: int) -> None:
    for _ in range(rng.choice([1, 1, 2, 8])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def b_header(rng: random.Random, data: bytearray, header: int) -> None:
    for _ in range(rng.choice([1, 1, 2])):
        data[8 + rng.randrange(header)] = rng.choice(b'{}[]",:\\0123456789-.eE \ntruefalsn\x00\x80\xc3\xff')


def b_splice(rng: random.Random, data: bytearray, header: int) -> None:
    at = rng.randrange(8 + header)
    data[at : at + rng.choice([0, 1, 4, 40])] = rng.randbytes(rng.choice([0, 1, 4, 40]))


def b_length(rng: random.Random, data: bytearray, header: int) -> None:
    near = [max(0, header + step) for step in (-40, -1, 1, 2, 40)]
    data[:8] = rng.choice([0, 1, 2, 8, *near, 1 << 31, 1 << 63, (1 << 64) - 1, rng.getrandbits(64)]).to_bytes(
        8, "little"
    )


def b_cut(rng: random.Random, data: bytearray, header: int) -> None:
    del data[rng.choice([rng.randrange(len(data)), rng.randrange(8 + header), len(data) - 1]) :]


def b_append(rng: random.Random, data: bytearray, header: int) -> None:
    data += rng.choice([b"\0", b" ", rng.randbytes(8), bytes(4096), bytes(data)])


def b_swap(rng: random.Random, data: bytearray, header: int) -> None:
    size = rng.choice([1, 4, 12])
    a, b = (rng.randrange(len(data) - size) for _ in range(2))
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


def b_encoding(rng: random.Random, data: bytearray, header: int) -> None:
    text = (
        data[8 : 8 + header].decode(errors="replace").encode(rng.choice(["utf-16", "utf-16-le", "utf-32", "utf-8-sig"]))
    )
    data[: 8 + header] = len(text).to_bytes(8, "little") + text


BYTES: dict[str, Callable[[random.Random, bytearray, int], None]] = {
    "bits flipped": b_flip, "header characters": b_header, "spliced": b_splice, "header length": b_length,
    "truncated": b_cut, "appended": b_append, "bytes swapped": b_swap, "another encoding": b_encoding,
}  # fmt: skip


def f_link(path: Path, data: bytes, base: Base) -> None:
    path.symlink_to(base.path)


def f_dangling(path: Path, data: bytes, base: Base) -> None:
    path.symlink_to("/nowhere/model.safetensors")


def f_hard_link(path: Path, data: bytes, base: Base) -> None:
    path.with_name("twin").write_bytes(data)
    path.hardlink_to(path.with_name("twin"))


def f_fifo(path: Path, data: bytes, base: Base) -> None:
    os.mkfifo(path)


def f_folder(path: Path, data: bytes, base: Base) -> None:
    path.mkdir()


def f_socket(path: Path, data: bytes, base: Base) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def f_missing(path: Path, data: bytes, base: Base) -> None:
    pass


def f_hole(path: Path, data: bytes, base: Base) -> None:
    header = int.from_bytes(data[:8], "little")
    with path.open("wb") as file:
        file.write(data[: 8 + header])
        file.truncate(len(data))


def f_huge(path: Path, data: bytes, base: Base) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.truncate(1 << 40)


FILES: dict[str, Callable[[Path, bytes, Base], None]] = {
    "symbolic link": f_link, "dangling link": f_dangling, "hard link": f_hard_link, "FIFO": f_fifo, "folder": f_folder,
    "socket": f_socket, "no file": f_missing, "holes": f_hole, "a terabyte of hole": f_huge,
}  # fmt: skip


def write(rng: random.Random, base: Base, path: Path) -> str:
    """One case at `path`. Returns its kind; "good" means that the format and the track allow it."""
    draft = Draft(base, rng)
    kinds = []
    level = rng.random()
    if 0.08 <= level < 0.65:
        kinds = rng.choices(list(HEADER), k=rng.choice([1, 1, 1, 2, 3]))
        for kind in kinds:
            HEADER[kind](rng, draft)
            if not draft.entries:
                draft.whole = "{}"
                break
    data = draft.file()
    header = int.from_bytes(data[:8], "little")
    if 0.65 <= level < 0.95:
        kinds = rng.choices(list(BYTES), k=rng.choice([1, 1, 2]))
        for kind in kinds:
            if len(data) > 32 and 0 < header < len(data) - 24:
                BYTES[kind](rng, data, header)
    if level < 0.95:
        path.write_bytes(data)
    else:
        kinds = [rng.choice(list(FILES))]
        FILES[kinds[0]](path, bytes(data), base)
    return kinds[0] if len(kinds) == 1 else "several at once" if kinds else "good"


# ---------------------------------------------------------------- the second opinion


def disagreement(checked: checkpoint.Checked, path: Path, base: Base) -> str | None:
    """Why this file should not have been accepted, or None: by the safetensors library, and by the bits."""
    info = path.lstat()
    if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
        return "accepted something that is not a regular file with one name"
    data = path.read_bytes()
    if checked.data != data or checked.sha256 != hashlib.sha256(data).hexdigest():
        return "the bytes returned are not the file's"
    try:
        tensors = deserialize(checked.data)
    except SafetensorError as error:
        return f"accepted what the library refuses: {error}"
    expected = {name: (dtype, list(shape)) for name, (dtype, shape, _) in base.tensors.items()}
    if (
        len(tensors) != len(expected)
        or {name: (item["dtype"], list(item["shape"])) for name, item in tensors} != expected
    ):
        return "accepted other names, shapes or dtypes than the base's"
    for name, item in tensors:
        width, exponent, mantissa = FLOATS[item["dtype"]]
        ones = (1 << exponent) - 1
        bits = np.frombuffer(bytes(item["data"]), dtype=f"<u{width}")
        if ((bits >> bits.dtype.type(mantissa) & bits.dtype.type(ones)) == ones).any():
            return f"accepted a number in {name!r} that is NaN or infinite"
    return None


def checkpoint_cases(count: int, seed: int, tally: Tally) -> Generator[None, None, None]:
    import torch  # noqa: F401  the reader imports it when first used, which takes longer than a file may

    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        small = small_base(Path(name) / "small")
        real = base_at(load("cpu-logic").base_folder / "model.safetensors")
        path = Path(name) / "model.safetensors"
        for number in range(count):
            rng = random.Random(f"checkpoint/{seed}/{number}")
            base = small if (number + 1) % REAL_EVERY else real
            kind = write(rng, base, path)
            problem = None
            begun = time.perf_counter()
            try:
                checked = checkpoint.read(path, base.path)
                seconds, outcome = time.perf_counter() - begun, "accepted"
            except checkpoint.CheckpointError as error:
                seconds, outcome = time.perf_counter() - begun, "refused"
                if kind == "good":
                    problem = f"refused a good file: {error}"
                elif len(str(error)) > 500 or not str(error).isprintable():
                    problem = f"a message that is long or unprintable: {str(error)!r:.600}"
            except Exception as error:
                seconds, outcome = time.perf_counter() - begun, "crashed"
                problem = f"{type(error).__name__}: {error}"
            else:
                problem = disagreement(checked, path, base)
            seconds = slow_again(seconds, READ_SECONDS, partial(checkpoint.read, path, base.path))
            if seconds > READ_SECONDS:
                problem = f"took {seconds:.1f} s, three times"
            tally.note(kind, outcome, seconds)
            if problem is not None:
                tally.findings.append(f"case {number} ({kind}): {problem}")
            for rest in Path(name).glob("[mt]*"):
                rest.rmdir() if rest.is_dir() and not rest.is_symlink() else rest.unlink()
            yield
