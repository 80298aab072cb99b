"""The static screen: each finding has a snippet that it must find and a near miss that it must not."""

import base64
import json
import os
import random
import shutil
import string
import subprocess
import sys
import textwrap
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.screen import check
from harness.screen.check import RULES, errors, screen
from harness.submission import MAX_BYTES, tree_digest
from harness.tracks.track import ROOT


def nano(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def refused(done, word):
    assert done.returncode == 2 and "Traceback" not in done.stderr and word in done.stderr, done.stderr


MANIFEST = 'name = "mine"\ntrack = "cpu-logic"\ntitle = "t"\nchange = "c"\ncontributors = ["ada"]\n'
REFERENCE = (ROOT / "baseline" / "train.py").read_text()
PACKAGES = frozenset({"torch", "transformers"})
PUZZLES = frozenset({"countdown", "linear", "nim", "josephus"})

RANDOM = random.Random(1)
NOISE = RANDOM.randbytes(4096)
BASE64 = base64.b64encode(NOISE).decode()
MUCH = RANDOM.randbytes(20_000).hex()
PROSE = textwrap.fill((ROOT / "docs" / "verification.md").read_text(), 80)  # long text is no packed data


def folder_of(place, source="", **files):
    """A submission folder: train.py, a good manifest, and other files by name (`/` allowed)."""
    folder = place / "mine"
    for name, content in {"train.py": source, "submission.toml": MANIFEST, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def codes(findings):
    return {each.code for each in findings}


def code(source):
    return {"train.py": source}


def look(files):
    return screen({name: text.encode() for name, text in files.items()}, PACKAGES, REFERENCE, PUZZLES)


# code: (files that it must find, files that it must not). A string is train.py.
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
    "puzzle-words": (r"m = re.search(r'(\d+) stones', text)", "m = 'the step and the loss'"),
    "solver": ("def solve(prompt): pass", "def resolution(prompt): pass"),
    "long-literal": (f"x = {PROSE[:1001]!r}", f"x = {PROSE[:1000]!r}"),
    "many-literals": ("\n".join(f"x = {PROSE[i : i + 900]!r}" for i in range(9)), f"x = {PROSE[:900]!r}"),
    "dense-literal": (f"x = {NOISE[:128]!r}", f"x = {PROSE[:600]!r}"),
    "encoded-run": (f"# {BASE64[:90]}", "# " + "-" * 90),
    "table": (f"x = {list(range(49))}", f"x = {list(range(48))}"),
    "long-line": ("x = 1" + " + 1" * 40, "x = 1" + " + 1" * 38),
    "minified": ("a = 1; b = 2; c = 3; d = 4\n" * 6, "a = 1; b = 2\n" * 6),
    "hidden-whitespace": ("x = 1" + " " * 60 + "; y = 2", "x = 1" + " " * 20 + "# y"),
    "much-source": ("".join(f"# {MUCH[i : i + 60]}\n" for i in range(0, len(MUCH), 60)), REFERENCE),
}  # fmt: skip
ELSEWHERE = {"files", "manifest", "copied", "unchanged", "digest-known"}


def test_every_rule_has_a_test():
    assert set(SNIPPETS) | ELSEWHERE == set(RULES)


@pytest.mark.parametrize("name", SNIPPETS)
def test_a_snippet_is_found_and_a_near_miss_is_not(name, tmp_path):
    trigger, miss = (code(case) if isinstance(case, str) else case for case in SNIPPETS[name])
    always = {"helper.py": "", "README.md": "words"}
    for place, files in (("trigger", trigger), ("miss", miss)):
        found = check.check(folder_of(tmp_path / place, **{**always, **files}))
        assert (name in codes(found)) == (place == "trigger"), found
        if place == "miss":
            assert errors(found) == 0, found
        for each in found:
            assert each.severity == RULES[each.code].severity and each.advice and each.message


@pytest.mark.parametrize(
    ("source", "wanted", "line"),
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
        ("import harness.judge", "harness-import", 1),
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
        ("from fractions import Fraction", "solver", 1),
        ("from itertools import permutations\nfor p in permutations(x): pass", "solver", 2),
        ("class Josephus: pass", "solver", 1),
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
        ("x = 0x" + "f" * 40, "table", 1),
        ("x = {" + ", ".join(f"{i}: {-i}" for i in range(30)) + "}", "table", 1),
        ("x = (\n    '" + BASE64[:60] + "'\n    '" + BASE64[60:140] + "')", "dense-literal", 2),
        ("x = 1" + "\n" * 3 + "#" + " " * 3 + "x\r y", "invisible-character", 4),
        ("x = 1\n# \u2066", "bidi-control", 2),
        ("def f(ρ): pass", "non-ascii-name", 1),
    ],
)  # fmt: skip
def test_ways_around_are_found_with_their_line(source, wanted, line):
    found = look(code(source))
    assert (wanted, line) in {(each.code, each.line) for each in found}, found


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
    assert not codes(look(code(source))) - {"puzzle-words"}


def test_the_manifest_is_checked_with_its_line(tmp_path):
    for number, (text, line, words) in enumerate(
        [
            (MANIFEST.replace('"mine"', '"other"'), 1, "make them equal"),
            (MANIFEST.replace('"cpu-logic"', '"gpu"'), 2, "no track 'gpu'"),
            (MANIFEST.replace('track = "cpu-logic"', 'tracks = ["cpu-logic", "gpu"]'), 2, "no track 'gpu'"),
            (MANIFEST + 'tracks = ["cpu-logic"]\n', 6, "not both"),
            (MANIFEST.replace('["ada"]', "[]"), 5, "at least one"),
            (MANIFEST.replace('title = "t"', 'title = "\\u0007"'), 3, "title"),
            (MANIFEST + "extra = 1\n", 6, "extra"),
            (MANIFEST + "extra\n", 6, "not TOML"),
            (MANIFEST.replace('title = "t"\n', ""), None, "title"),
            ("a = " + "[" * 100_000, None, "not TOML"),
            ("a = " + "9" * 5_000, None, "not TOML"),
        ]
    ):
        found = check.check(folder_of(tmp_path / str(number), **{"submission.toml": text}))
        (one,) = [each for each in found if each.code == "manifest"]
        assert (one.file, one.line) == ("submission.toml", line) and words in one.message
        assert str(tmp_path) not in one.message
    folder = folder_of(tmp_path / "none")
    (folder / "train.py").unlink()
    (one,) = check.check(folder)
    assert one.code == "manifest" and one.file == "." and "no train.py" in one.message
    assert "manifest" not in codes(check.check(folder_of(tmp_path / "good")))


def test_a_folder_for_several_tracks_may_import_what_any_of_them_has(tmp_path):
    several = MANIFEST.replace('track = "cpu-logic"', 'tracks = ["cpu-logic", "1xh100-smol"]')
    one, both = (
        check.check(folder_of(tmp_path / name, "from vllm import LLM\n", **{"submission.toml": manifest}))
        for name, manifest in (("one", MANIFEST), ("both", several))
    )
    assert "foreign-import" in codes(one) and "foreign-import" not in codes(both)


def test_links_floods_and_names_that_cannot_be_printed(tmp_path):
    link = folder_of(tmp_path / "link")
    (link / "data.md").symlink_to("/etc/passwd")
    big = folder_of(tmp_path / "big", **{"big.md": b"a" * MAX_BYTES})
    newline = folder_of(tmp_path / "newline", **{"a\nb.md": ""})
    for folder in (link, big, newline):
        (one,) = check.check(folder)
        assert one.code == "files" and one.severity == "error" and "\n" not in one.message
    assert "files" not in codes(check.check(folder_of(tmp_path / "good", **{"big.md": b"a " * 400_000})))


def test_a_copy_is_an_error_and_an_unchanged_baseline_a_warning(tmp_path):
    lean = (ROOT / "submissions" / "lean" / "train.py").read_text()
    disguised = '"""Mine."""\n' + lean.partition('"""\n')[2].replace("\n\n", "\n# new\n\n")
    for place, source in (("a", lean), ("b", disguised)):
        (one,) = [each for each in check.check(folder_of(tmp_path / place, source)) if each.code == "copied"]
        assert "submissions/lean" in one.message and one.severity == "error"
    assert "copied" not in codes(check.check(folder_of(tmp_path / "c", lean.replace("STEPS = 64", "STEPS = 63"))))
    assert "unchanged" in codes(check.check(folder_of(tmp_path / "d", REFERENCE)))
    assert "unchanged" not in codes(check.check(folder_of(tmp_path / "e", REFERENCE.replace("4e-4", "5e-4"))))


def test_a_folder_that_the_ledger_knows_is_named(tmp_path):
    folder = tmp_path / "lean"
    shutil.copytree(ROOT / "submissions" / "lean", folder)
    (one,) = check.check(folder)
    assert one.code == "digest-known" and "recorded in records/2026-11-20_cpu-logic_lean/record.json" in one.message
    (folder / "README.md").write_text("changed")
    assert check.check(folder) == []

    # Announced, as the reference of another's record, and beside an entry that is no JSON.
    digest = tree_digest(folder)
    log = tmp_path / "project" / "records" / "log"
    log.mkdir(parents=True)
    (log / "a.json").write_text(f"{digest} [[[")
    (log / "b.json").write_text(json.dumps({"predicate": {"reference": {"tree_sha256": digest}, "submission": {}}}))
    assert check.check(folder, tmp_path / "project") == []
    (log / "c.json").write_text(json.dumps({"submissions": [{"name": "lean", "tree_sha256": digest}]}))
    (one,) = check.check(folder, tmp_path / "project")
    assert one.code == "digest-known" and "announced in records/log/c.json" in one.message


def test_every_submission_here_has_no_error_and_no_warning_but_its_record():
    """Also: what a submission is timed against is not taken for the submission."""
    recorded = [ROOT / "baseline", ROOT / "baseline-deduction"]
    folders = [*recorded, *(path for path in (ROOT / "submissions").iterdir() if path.is_dir())]
    assert len(folders) >= 6
    for folder in folders:
        found = check.check(folder)
        assert codes(found) <= {"digest-known"}, found
        if found:
            assert folder.name in found[0].message or "announced" in found[0].message


def test_the_baseline_for_gpus_has_no_error_and_what_it_is_warned_of_is_what_it_does():
    assert codes(check.check(ROOT / "baseline-gpu")) <= {"dynamic-attribute", "patching", "review-call"}


def test_the_recorded_submissions_stay_far_from_the_limits():
    for path in [*(ROOT / "submissions").glob("*/train.py"), ROOT / "baseline" / "train.py"]:
        module = check._Module("train.py", path.read_text(), frozenset(), frozenset(), frozenset(), frozenset())
        module.findings()
        assert module.dense == 0 and module.numbers < check.MAX_PACKED / 8
        assert path.stat().st_size < check.MAX_SOURCE / 4


def test_data_is_counted_however_it_is_cut_up():
    words = " ".join(BASE64[i : i + 9] for i in range(0, 3000, 9))
    lines = "".join(f"# {BASE64[i : i + 60]}\n" for i in range(0, 3000, 60))
    numbers = "".join(f"a{i} = {RANDOM.random()}\n" for i in range(300))
    strings = "x = [" + ",".join(repr(BASE64[i : i + 200]) for i in range(0, 3000, 200)) + "]"
    for files in ({"README.md": words}, code(lines), code(numbers), code(strings), {"x.toml": f'x = "{BASE64}"'}):
        assert "packed-data" in codes(look(files)), files
    for files in ({"README.md": PROSE}, code(REFERENCE), code(json.dumps(string.printable))):
        assert "packed-data" not in codes(look(files))


def test_a_flood_of_findings_is_cut_and_counted():
    found = look(code("import vllm\n" * 500))
    mine = [each for each in found if each.code == "foreign-import"]
    assert len(mine) == check.SHOWN and mine[-1].message.endswith("and 490 more of this kind")
    exact = look(code("import vllm\n" * check.SHOWN))
    assert [each.message for each in exact if each.code == "foreign-import"] == ["vllm"] * check.SHOWN


def test_a_table_is_cut_and_counted():
    many = [check.finding("long-line", "train.py", number, "x") for number in range(1, check.ROWS + 8)]
    said = check.markdown({"mine": [check.finding("syntax", "train.py", 1, "x"), *many]})
    rows = [line for line in said.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + check.ROWS and "syntax" in rows[2] and "8 more are not shown." in said


def test_it_imports_and_executes_nothing(tmp_path):
    mark = tmp_path / "executed"
    source = f"open({str(mark)!r}, 'w')\nimport helper_of_mine\n"
    folder = folder_of(tmp_path, source, **{"helper_of_mine.py": source, "__init__.py": source, "conftest.py": source})
    check.check(folder)
    assert not mark.exists() and "helper_of_mine" not in sys.modules


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=400), st.text(max_size=400).map(str.encode)))
@example(b"\x00")
@example(b"x = 1_000j; y = 1e400; z = -0xff; ...; True; None; b'' 'a'")
@example(b"'\\ud800'; open('\\ud800')")
def test_any_bytes_give_findings_and_no_exception(data):
    for name in ("train.py", "a/b.py", "submission.toml", "README.md", "x"):
        for each in screen({name: data}, PACKAGES, REFERENCE, PUZZLES):
            assert each.code in RULES and each.severity in ("error", "warning")
    json.dumps([each.message for each in screen({"train.py": data}, PACKAGES, REFERENCE, PUZZLES)]).encode()


WORDS = st.sampled_from([
    "eval", "os", "import ", "from ", " as ", ".", "(", ")", "[", "]", "{", "}", "'", '"', "\n", "    ", "=", "lambda ",
    "f'", "def f", ":", "torch", "getattr", ",", "1", "0x1", "-", "*", "@", "class A", "match x", "case ", "|", "#",
    "\\",
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=40).map("".join), st.text(max_size=20), st.text(min_size=1, max_size=20))
def test_near_python_under_any_name_gives_findings_and_no_exception(source, other, name):
    screen({"train.py": source.encode(), f"{name}.py": other.encode()}, PACKAGES, REFERENCE, PUZZLES)


N = check.MAX_SOURCE - 10
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
    assert max(map(len, documents)) + check.MAX_SOURCE < MAX_BYTES
    took = {}
    for number, (name, source) in enumerate(BOMBS.items()):
        folder = folder_of(tmp_path / name, source, **{"README.md": documents[number % len(documents)]})
        start = time.process_time()
        check.check(folder)
        took[name] = time.process_time() - start
    assert max(took.values()) < 2.4, took


# ---------------------------------------------------------------- the command


def test_the_command_exits_with_0_1_or_2(tmp_path):
    done = nano("check", "baseline", "submissions/lean")
    assert done.returncode == 0 and "0 errors, 1 warning" in done.stdout
    bad = folder_of(tmp_path, "x = 1\nexec('1')\n")
    done = nano("check", bad, "baseline")
    assert done.returncode == 1 and "train.py:2: hidden-code" in done.stdout and "1 error" in done.stdout
    refused(nano("check", tmp_path / "none"), "not a folder")
    refused(nano("check"), "--against")
    refused(nano("check", "baseline", "--against", "HEAD"), "--against")
    refused(nano("check", "baseline", "--json", "--markdown"), "one of")


def test_json_has_every_field(tmp_path):
    bad = folder_of(tmp_path, "exec('1')\n")
    done = nano("check", bad, "--json")
    assert done.returncode == 1
    (found,) = json.loads(done.stdout).values()
    assert {key: found[0][key] for key in ("code", "severity", "file", "line")} == {
        "code": "hidden-code",
        "severity": "error",
        "file": "train.py",
        "line": 1,
    }
    assert found[0]["message"] and found[0]["advice"]


HOSTILE = (
    "</td><script>alert(1)</script>[x](https://evil.example)@admin #1 | **b** `c` <!-- \u202e $x$ https://evil.example"
)


def test_hostile_names_and_text_cannot_become_markup(tmp_path):
    name = "<img src=x onerror=alert(1)> [a](b.example) @admin `x`|.py"
    manifest = MANIFEST + f"{json.dumps(HOSTILE)} = 1\n"
    files = {name: "", "submission.toml": manifest, "a.exe|<b>": ""}
    folder = folder_of(tmp_path, f"import vllm\nopen({'/proc/' + HOSTILE!r})\n", **files)
    done = nano("check", folder, "--markdown")
    assert done.returncode == 1
    html = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(done.stdout)
    assert "<table>" in html and html.count("<h3>") == 1
    for word in ("<script", "<img", "<a ", "@admin", "#1", "<code", "<b>", "<!--", "\u202e"):
        assert word not in html, word
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) > 4 and {line.count("|") for line in rows} == {6}
    plain = nano("check", folder)
    assert "\u202e" not in plain.stdout and "\x1b" not in plain.stdout


def test_escape_sequences_do_not_reach_the_terminal(tmp_path):
    manifest = MANIFEST + '"\\u001b[31m\\u0007" = 1\n'
    folder = folder_of(tmp_path, **{"submission.toml": manifest})
    for done in (nano("check", folder), nano("verify", folder, "--key", tmp_path / "none"), nano("train", folder)):
        assert done.returncode in (1, 2) and "\x1b" not in done.stdout + done.stderr
        assert "\x07" not in done.stdout + done.stderr


def test_the_document_lists_every_rule_as_the_code_has_it():
    rows = [f"| `{name}` | {rule.severity} | {rule.meaning} | {rule.advice} |" for name, rule in RULES.items()]
    text = (ROOT / "docs" / "check.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("| `")] == rows
