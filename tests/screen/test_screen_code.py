"""Each rule of the static screen has a snippet that it must find and a near miss; ways around it; and any bytes."""

import base64
import json
import string
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from screen_samples import BASE64, MUCH, NOISE, PACKAGES, PROSE, RANDOM, REFERENCE, code, codes, folder_of, look

from harness.screen.check import check, screen
from harness.screen.code import Folder, Module
from harness.screen.findings import MAX_PACKED, MAX_SOURCE, RULES, errors
from harness.submission import MAX_BYTES
from harness.tracks.track import ROOT

# code: (files that it must find, files that it must not), or several of these. A string is train.py.
SNIPPETS = {
    "file-name": ({"a b.py": ""}, {"a_b-c.1.py": ""}),
    "hidden-file": ({".env.md": ""}, {"env.md": ""}),
    "file-type": ({"weights.png": "text"}, {"weights.md": "text"}),
    "not-text": ({"notes.md": b"caf\xe9"}, {"notes.md": "café"}),
    "bidi-control": ("x = 1  # \u202e admin", "x = 1  # \u2016 – ×"),
    "invisible-character": ("x = 'a\u200bb'", "x = 'a\\u200bb'"),
    "encoding": ("# -*- coding: rot13 -*-\n", "# -*- coding: utf-8 -*-\n"),
    "too-large": ("x = y\n" * 10_001, "x = y\n" * 9_999),
    "packed-data": (f"x = '''{BASE64[:2100]}'''", f"x = '''{BASE64[:1900]}'''"),
    "syntax": ("x = 1\nif True\n", "x = 1\nif True: pass\n"),
    "non-ascii-name": ("β = 1", "beta = 1  # β"),
    "foreign-import": ("import vllm", "import torch, numpy, safetensors.torch, json, helper"),
    "harness-import": ("from harness.tasks import TASKS", "from harness.client import connect, Score"),
    "shadowing": ({"json.py": ""}, {"jsonic.py": ""}),
    "hidden-code": ("e = eval\ne('1')", "model.eval()\nre = retry.compile()"),
    "review-import": ("import ctypes", "import math"),
    "review-call": ("import os\nos.system('ls')", "import os\nos.path.join('a', 'b')"),
    "dynamic-attribute": ("getattr(x, 'sys' + 'tem')", "getattr(x, 'system')"),
    "patching": ("import time\ntime.monotonic = f", "import torch\ntorch.backends.mkldnn.enabled = False"),
    "host-path": ("open('/proc/self/maps')", "print('tokens/process')"),
    "own-file": ("open('README.md')", "open('READ.md')"),
    "own-weights": ("f = run.output / 'model.safetensors'", "run.save(model)"),
    "unrepeatable": ("import time\nif time.time() > 3: pass", "import time\nclock = time.monotonic()"),
    "decodes-tokens": ("text = t.decode(ids)", "text = data.decode('utf-8')"),
    "data": [
        (f"x = {NOISE[:128]!r}", f"x = {PROSE[:600]!r}"),
        (f"# {BASE64[:90]}", "# " + "-" * 90),
        (f"x = {list(range(49))}", f"x = {list(range(48))}"),
    ],
    "layout": [
        ("x = 1" + " + 1" * 40, "x = 1" + " + 1" * 38),
        ("a = 1; b = 2; c = 3; d = 4\n" * 6, "a = 1; b = 2\n" * 6),
        ("x = 1" + " " * 60 + "; y = 2", "x = 1" + " " * 20 + "# y"),
    ],
    "much-source": ("".join(f"# {MUCH[i : i + 60]}\n" for i in range(0, len(MUCH), 60)), REFERENCE),
}  # fmt: skip
ELSEWHERE = {"files", "manifest", "based-on", "copied", "template", "unchanged", "digest-known"}


def test_every_rule_has_a_test():
    assert set(SNIPPETS) | ELSEWHERE == set(RULES)


CASES = [(name, *pair) for name, pairs in SNIPPETS.items() for pair in (pairs if isinstance(pairs, list) else [pairs])]


@pytest.mark.parametrize(("name", "trigger", "miss"), CASES)
def test_a_snippet_is_found_and_a_near_miss_is_not(name, trigger, miss, tmp_path):
    always = {"helper.py": "", "README.md": "words"}
    for place, files in (("trigger", trigger), ("miss", miss)):
        files = code(files) if isinstance(files, str) else files
        findings = check(folder_of(tmp_path / place, **{**always, **files}))
        assert (name in codes(findings)) == (place == "trigger"), findings
        if place == "miss":
            assert errors(findings) == 0, findings
        for entry in findings:
            assert entry.severity == RULES[entry.code].severity and entry.advice and entry.message


@pytest.mark.parametrize(
    ("source", "expected", "line"),
    [
        ("\nimport importlib", "hidden-code", 2),
        ("\nfrom pickle import loads", "hidden-code", 2),
        ("import builtins", "hidden-code", 1),
        ("x = 1\n\nexec('1')", "hidden-code", 3),
        ("__import__('os')", "hidden-code", 1),
        ("ｅｖａｌ('1')", "hidden-code", 1),
        ("f'{exec(1)}'", "hidden-code", 1),
        ("import torch\ntorch.load('x')", "hidden-code", 2),
        ("import torch as t\nt.load('x', weights_only=False)", "hidden-code", 2),
        ("from torch import load\nload('x')", "hidden-code", 2),
        ("import numpy\nnumpy.load('x', allow_pickle=True)", "hidden-code", 2),
        ("M.from_pretrained(run.base, trust_remote_code=True)", "hidden-code", 1),
        ("import torch.utils.cpp_extension", "hidden-code", 1),
        ("from torch.utils import cpp_extension", "hidden-code", 1),
        ("().__class__.__base__.__subclasses__()", "hidden-code", 1),
        ("getattr(f, '__globals__')", "hidden-code", 1),
        ("__builtins__['eval']", "hidden-code", 1),
        ("__builtins__.eval", "hidden-code", 1),
        ("from os import *", "hidden-code", 1),
        ("import torch\ntorch.os.system('x')", "review-call", 2),
        ("import harness.client as c\nc.subprocess.run([])", "review-call", 2),
        ("from os import fork as f\nf()", "review-call", 2),
        ("import os\no = os\no.fork()", "review-call", 3),
        ("import os as o\nx = o.environ['HOME']", "review-call", 2),
        ("import os\ngetattr(os, 'system')('x')", "review-call", 2),
        ("import random\nrandom._os.system('x')", "review-call", 2),
        ("import _socket, _queue", "review-import", 1),
        ("import _pytest", "foreign-import", 1),
        ("import timeit", "hidden-code", 1),
        ("import operator\noperator.attrgetter(name)(x)", "dynamic-attribute", 2),
        ("tok.decode(token_ids=ids)", "decodes-tokens", 1),
        ("import sys\nsys.settrace(f)", "review-call", 2),
        ("import sys\nsys._getframe(1)", "review-call", 2),
        ("import torch.multiprocessing as mp", "review-call", 1),
        ("import socket", "review-import", 1),
        ("def f():\n    import subprocess", "review-import", 2),
        ("import signal, gc, inspect, mmap, threading, multiprocessing", "review-import", 1),
        ("from harness import environment", "harness-import", 1),
        ("import harness.frozen.judge", "harness-import", 1),
        ("import harness", "harness-import", 1),
        ("from harness.client import subprocess", "harness-import", 1),
        ("import harness.client\nimport sympy", "foreign-import", 2),
        ("from . import other", "foreign-import", 1),
        ("import torch\ntorch.nn.functional.softmax = f", "patching", 2),
        ("import json\nsetattr(json, 'loads', f)", "patching", 2),
        ("globals()['x']", "dynamic-attribute", 1),
        ("import os\nos.path.getmtime('x')", "unrepeatable", 2),
        ("path.stat().st_mtime", "unrepeatable", 1),
        ("from datetime import datetime\ndatetime.now()", "unrepeatable", 2),
        ("from transformers import AutoTokenizer", "decodes-tokens", 1),
        ("tok.batch_decode(ids)", "decodes-tokens", 1),
        ("import tokenizers", "decodes-tokens", 1),
        ("p = run.base / 'tokenizer.json'", "decodes-tokens", 1),
        ("p = '/dev/shm/cache'", "host-path", 1),
        ("p = 'NANO_R1_SOCKET'", "host-path", 1),
        ("p = '../baseline/train.py'", "host-path", 1),
        ("open(__file__)", "own-file", 1),
        ("from safetensors.torch import save_file", "own-weights", 1),
        ("import os\nos.symlink('a', 'b')", "own-weights", 2),
        ("model.save_pretrained(run.output)", "own-weights", 1),
        ("x = 0x" + "f" * 40, "data", 1),
        ("x = {" + ", ".join(f"{i}: {-i}" for i in range(30)) + "}", "data", 1),
        ("x = (\n    '" + BASE64[:60] + "'\n    '" + BASE64[60:140] + "')", "data", 2),
        ("x = 1" + "\n" * 3 + "#" + " " * 3 + "x\r y", "invisible-character", 4),
        ("x = 1\n# \u2066", "bidi-control", 2),
        ("def f(ρ): pass", "non-ascii-name", 1),
    ],
)  # fmt: skip
def test_ways_around_are_found_with_their_line(source, expected, line):
    findings = look(code(source))
    assert (expected, line) in {(entry.code, entry.line) for entry in findings}, findings


@pytest.mark.parametrize(
    "source",
    [
        "import torch\nmodel = torch.compile(model)",
        "import re\nre.compile('a')",
        "import torch\ntorch.load('x', weights_only=True)",
        "import torch\ntorch.select(x, 0, 1)",
        "import os, sys\nos.makedirs('x')\nsys.exit(0)",
        "import time\ntime.perf_counter(); time.sleep(1)",
        "import random\nrandom.seed(run.seed)",
        "self.signal = 1\nself.gc = 2\nself.select(3)",
        "torch = 1\nos = 2\nos.system",  # never imported: not the module
        "from collections import Counter",
        "x = 'and/or; a/b/c; the device'",
        '"""' + PROSE + '"""',
    ],
)
def test_ordinary_code_is_left_alone(source):
    assert not codes(look(code(source)))


def test_the_recorded_submissions_stay_far_from_the_limits():
    records = [json.loads(path.read_bytes()) for path in (ROOT / "records").glob("*/record.json")]
    homes = {found["predicate"]["submission"]["path"] for found in records}
    assert {"baseline", "submissions/trim", "submissions/muon"} <= homes
    for path in (ROOT / home / "train.py" for home in homes):
        module = Module("train.py", path.read_text(encoding="utf-8"), Folder())
        module.findings()
        assert module.dense == 0 and module.numbers < MAX_PACKED / 8
        assert path.stat().st_size < MAX_SOURCE / 4


def test_data_is_counted_however_it_is_cut_up():
    words = " ".join(BASE64[i : i + 9] for i in range(0, 3000, 9))
    lines = "".join(f"# {BASE64[i : i + 60]}\n" for i in range(0, 3000, 60))
    numbers = "".join(f"a{i} = {RANDOM.random()}\n" for i in range(300))
    strings = "x = [" + ",".join(repr(BASE64[i : i + 200]) for i in range(0, 3000, 200)) + "]"
    for files in ({"README.md": words}, code(lines), code(numbers), code(strings), {"x.toml": f'x = "{BASE64}"'}):
        assert "packed-data" in codes(look(files)), files
    for files in ({"README.md": PROSE}, code(REFERENCE), code(json.dumps(string.printable))):
        assert "packed-data" not in codes(look(files))


@given(st.one_of(st.binary(max_size=400), st.text(max_size=400).map(str.encode)))
@example(b"\x00")
@example(b"x = 1_000j; y = 1e400; z = -0xff; ...; True; None; b'' 'a'")
@example(b"'\\ud800'; open('\\ud800')")
def test_any_bytes_give_findings_and_no_exception(data):
    for name in ("train.py", "a/b.py", "submission.toml", "README.md", "x"):
        for entry in screen({name: data}, PACKAGES, REFERENCE):
            assert entry.code in RULES and entry.severity in ("error", "warning")
    json.dumps([entry.message for entry in screen({"train.py": data}, PACKAGES, REFERENCE)]).encode()


WORDS = st.sampled_from([
    "eval", "os", "import ", "from ", " as ", ".", "(", ")", "[", "]", "{", "}", "'", '"', "\n", "    ", "=", "lambda ",
    "f'", "def f", ":", "torch", "getattr", ",", "1", "0x1", "-", "*", "@", "class A", "match x", "case ", "|", "#",
    "\\",
])  # fmt: skip


@given(st.lists(WORDS, max_size=40).map("".join), st.text(max_size=20), st.text(min_size=1, max_size=20))
def test_near_python_under_any_name_gives_findings_and_no_exception(source, other, name):
    screen({"train.py": source.encode(), f"{name}.py": other.encode()}, PACKAGES, REFERENCE)


N = MAX_SOURCE - 10
BOMBS = {
    "minus": "-" * N, "not": "not " * (N // 4), "lambda": "lambda:" * (N // 7), "open": "(" * N, "braces": "{" * 90,
    "attributes": "a" + ".b" * (N // 2), "calls": "f" + "()" * (N // 2), "sums": "1" + "+1" * (N // 2),
    "statements": "a;" * (N // 2), "names": "a\n" * (N // 2), "numbers": "1," * (N // 2), "eval": "eval;" * (N // 5),
    "f-string": "f'" + "{a}" * (N // 3) + "'", "quotes": '"' * N, "backslashes": "\\\n" * (N // 2), "nul": "\0" * N,
    "elif": "if a:0\n" + "elif a:0\n" * (N // 9), "integer": "0x" + "f" * N, "returns": "\r" * N, "spaces": " " * N,
}  # fmt: skip


def test_a_folder_at_the_size_limits_takes_about_a_second(tmp_path):
    """CPU seconds, since the suite may run beside other work: 0.8 at most when written, thrice that passes."""
    noise = base64.b64encode(RANDOM.randbytes(600_000)).decode()
    documents = [noise, " ".join(noise[i : i + 7] for i in range(0, 700_000, 7)), "a\n" * 400_000, "\t" * 800_000]
    assert max(map(len, documents)) + MAX_SOURCE < MAX_BYTES
    took = {}
    for number, (name, source) in enumerate(BOMBS.items()):
        folder = folder_of(tmp_path / name, source, **{"README.md": documents[number % len(documents)]})
        start = time.process_time()
        check(folder)
        took[name] = time.process_time() - start
    assert max(took.values()) < 2.4, took
