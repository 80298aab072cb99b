"""Programs in the sandbox: the canonical solutions pass, broken ones and those that go for the examiner do not."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import graders
import pytest
from graders import failure, fault, needs_compiler
from hypothesis import given
from hypothesis import strategies as st
from needs import needs_sandbox

from harness.answers import code, exam
from harness.answers.code import Cases, Problem, lenient_program
from harness.answers.grade import LONGEST, GraderError
from harness.frozen.format import Sample
from harness.isolation import sandbox

grade = graders.code.grade

DATA = Path(__file__).parents[1] / "data" / "graders"
EXCERPT = [json.loads(line) for line in (DATA / "humaneval.jsonl").read_text(encoding="utf-8").splitlines()]
HELPED = [row for row in EXCERPT if row["prompt"].count("def ") > 1]  # by another function of the prompt
ADD = Problem(
    prompt='def add(a, b):\n    """The sum."""\n',
    entry_point="add",
    tests="def check(candidate):\n    assert candidate(2, 3) == 5\n    assert candidate(2, b=-3) == -1\n",
)
RIGHT = "def add(a, b):\n    return a + b\n"


def problem(row: dict[str, str]) -> Problem:
    return Problem(row["prompt"], row["entry_point"], row["test"])


def completion(program: str) -> str:
    return f"<think>so</think><answer>```python\n{program}\n```</answer>"


# ---------------------------------------------------------------- HumanEval


@needs_sandbox
@pytest.mark.slow
@pytest.mark.parametrize("row", HELPED, ids=[row["task_id"] for row in HELPED])
def test_the_canonical_solution_passes_and_an_empty_one_does_not(row: dict[str, str]) -> None:
    assert failure(row["prompt"] + row["canonical_solution"], problem(row)) is None
    assert failure(row["prompt"] + "    pass\n", problem(row)) is not None


@needs_sandbox
def test_strict_is_one_block_and_lenient_what_harnesses_run() -> None:
    given = grade(completion(RIGHT.strip()), ADD)
    assert given.strict and given.lenient and given.why is None
    given = grade(f"Here you are:\n```python\n{RIGHT}```\nIt adds.", ADD)
    assert not given.strict and given.lenient and given.why == "no answer in the format"
    given = grade("    return a + b\n\ndef more():\n    broken(", ADD)
    assert not given.strict and given.lenient
    given = grade(completion("def add(a, b):\n    return a - b"), ADD)
    assert not given.strict and not given.lenient and given.why == "AssertionError: "


@pytest.mark.parametrize(
    "answer",
    ["", RIGHT, f"```\n{RIGHT}```", f"```py\n{RIGHT}```", f"```python\n{RIGHT}``` ", f"So ```python\n{RIGHT}```",
    "```python\n```",
     f"```python\n{RIGHT}```\n```python\n{RIGHT}```", f"```python\n{RIGHT}", f"```python {RIGHT}```"],
)  # fmt: skip
def test_what_is_no_answer_is_not_run(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "run", lambda *_, **__: pytest.fail("it was run"))
    assert fault(answer, ADD) == "the answer is not one ```python block"


def test_the_program_of_a_free_text() -> None:
    head = ADD.prompt + "\n\n"
    assert (
        lenient_program("<think>```python\nno\n```</think>a\n```python\nx\n```\nb\n```py\ny\n```", ADD) == head + "y\n"
    )
    assert lenient_program("a\n```python\nx\n```\nIn C:\n```c\ny\n```\nand\n```python\ncut", ADD) == head + "x\n"
    assert lenient_program("    return a\nprint(add(1, 2))", ADD) == ADD.prompt + "    return a\n"


@pytest.mark.parametrize("piece", ["```", "```\n", "x```\n", "\n```", "```python\n", "\n  ", "```\n\n", "\ndef"])
def test_finding_the_program_takes_no_time(piece: str) -> None:
    text = (piece * LONGEST)[:LONGEST]
    start = time.process_time()
    lenient_program(text, ADD), lenient_program(text, SUMS)
    assert time.process_time() - start < 2


@needs_sandbox
def test_a_helper_of_the_prompt_cannot_be_replaced() -> None:
    """HumanEval/32 checks `poly(coefficients, solution)` with whatever poly the program left behind."""
    row = next(row for row in EXCERPT if row["task_id"] == "HumanEval/32")
    program = "def find_zero(xs):\n    return 0.5\n\ndef poly(xs, x):\n    return 0.0\n"
    space: dict[str, Any] = {}
    exec(row["prompt"] + "    return 0.5\n\n" + program + row["test"], space)
    space["check"](space["find_zero"])  # in one interpreter it passes
    assert failure(program, problem(row)) == "AssertionError: "


# ---------------------------------------------------------------- programs that go for the examiner

TAMPER = {
    "exits early": "import sys\nsys.exit(0)",
    "exits early without a word": "import os\nos._exit(0)",
    "exits in the call": "import os\ndef add(a, b):\n    os._exit(0)",
    "raises SystemExit in the call": "def add(a, b):\n    raise SystemExit(0)",
    "ends after one right answer": "import os\ndef add(a, b):\n    return 5 if b == 3 else os._exit(0)",
    "prints nonces": "print('\\n'.join(f'{i:032x}' for i in range(5000)))",
    "prints a pass": "print('passed'); print('None'); print('0' * 32)\ndef add(a, b): return 0",
    "overrides sys.exit": "import sys\nsys.exit = lambda *_: None\ndef add(a, b): raise SystemExit",
    "patches builtins": (
        "import builtins\nbuiltins.AssertionError = type('E', (BaseException,), {})\nbuiltins.abs = lambda _: 0\n"
        "builtins.compile = lambda *_, **__: None\ndef add(a, b): return 0"
    ),
    "always equal": (
        "class Yes:\n    def __eq__(self, other): return True\n    def __call__(self, *_, **__): return self\n"
        "add = Yes()"
    ),
    "an int that is always equal": (
        "class Yes(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
        "    def __format__(self, how): return 'zz'\ndef add(a, b): return Yes(7)"
    ),
    "walks the frames": (
        "import sys\ndef add(a, b):\n    frame = sys._getframe()\n    while frame:\n"
        "        for value in list(frame.f_globals.values()) + list(frame.f_locals.values()):\n"
        "            if hasattr(value, 'append'): value.append('passed')\n        frame = frame.f_back\n    return 0"
    ),
    "collects objects": (
        "import gc\ndef add(a, b):\n    for value in gc.get_objects():\n"
        "        if isinstance(value, dict) and 'nonce' in value: return value['nonce']\n    return 0"
    ),
    "changes the exam module": (
        "import __main__\n__main__.encode = lambda *_: None\n__main__.Stand = None\n"
        "__main__.decode = lambda *_: ([], {})\n"
        "def add(a, b): return 0"
    ),
    "forges replies": (
        "import os\nfor pipe in range(3, 30):\n"
        "    for word in (b'{\"value\": true}', b'{\"value\": {\"int\": \"5\"}}', b'null', b'[[[['):\n"
        "        try: os.write(pipe, len(word).to_bytes(4, 'big') + word)\n        except OSError: pass\n"
        "def add(a, b): return 0"
    ),
    "forges a bomb": (
        "import os\nword = b'[' * 900000\nfor pipe in range(3, 30):\n"
        "    try: os.write(pipe, len(word).to_bytes(4, 'big') + word)\n"
        "    except OSError: pass\ndef add(a, b): return 0"
    ),
    "forges a length": (
        "import os\nfor pipe in range(3, 30):\n    try: os.write(pipe, b'\\xff' * 64)\n    except OSError: pass\n"
        "def add(a, b): return 0"
    ),
    "kills the examiner": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\ndef add(a, b): return 0",
    "interrupts the examiner": (
        "import os, signal, time\nos.kill(os.getppid(), signal.SIGINT)\ntime.sleep(0.2)\ndef add(a, b): return 0"
    ),
    "kills everybody": "import os, signal\nos.kill(-1, signal.SIGKILL)\ndef add(a, b): return 0",
    "leaves a daemon": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(60)\n    os._exit(0)\n"
        + RIGHT
    ),
    "a memory bomb": "held = [bytearray(1 << 20) for _ in range(2000)]\n" + RIGHT,
    "a memory bomb in the answer": "def add(a, b): return [[]] * 10 ** 7",
    "a nested answer": "def add(a, b):\n    value = 5\n    for _ in range(10 ** 5): value = [value]\n    return value",
    "an endless answer": "def add(a, b):\n    value = []\n    value.append(value)\n    return value",
    "a recursion": "def add(a, b): return add(a, b)",
    "no such function": "def sub(a, b): return a + b",
    "no function": "add = 5",
    "no Python": "this is no program",
    "a null character": "add = lambda a, b: a + b\n\0",
    "a surrogate": "add = lambda a, b: a + b  # \ud800",
    "a generator": "def add(a, b):\n    yield a + b",
    "not a number": "def add(a, b): return float('nan')",
    "reads standard input": "def add(a, b): return int(input())",
}
SLOW = {
    "an endless loop": "while True: pass",
    "sleeps": "import time\ntime.sleep(60)",
    "a fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "stops the examiner": "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\ndef add(a, b): return 5",
    "a flood": "import os\nwhile True: os.write(1, b'x' * 65536)",
    "children that work on": "import os\nfor _ in range(8): os.fork()\nwhile True: pass",
}


@needs_sandbox
def test_the_right_program_passes() -> None:
    assert failure(RIGHT, ADD) is None


@needs_sandbox
@pytest.mark.parametrize("program", TAMPER.values(), ids=list(TAMPER))
def test_no_pass_but_by_answering(program: str) -> None:
    assert failure(program, ADD) is not None


@needs_sandbox
@pytest.mark.slow
@pytest.mark.parametrize("program", SLOW.values(), ids=list(SLOW))
def test_within_the_limits(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "SECONDS", 2)
    monkeypatch.setattr(code, "CPU_SECONDS", 1)
    why = failure(program, ADD)
    assert why is not None and why.startswith(("over the budget of 2 s", "the program", "left "))


# ---------------------------------------------------------------- can the program find the nonce?

# It looks wherever a process of the same user could look, and answers with what it saw. A nonce is 32 hexadecimal
# digits.
SEARCH = r"""
import ctypes, os, re, socket
libc = ctypes.CDLL(None, use_errno=True)
seen = []

def look(place, data):
    seen.extend(f"NONCE in {place}" for _ in re.findall(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", data))

def search():
    here, parent = os.getpid(), os.getppid()
    others = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != here]
    for pid in others:
        for name in ("environ", "cmdline", "stat", "maps", "io", "syscall", "stack", "auxv"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    data = file.read()
                    look(f"/proc/{pid}/{name}", data)
                    if name in ("environ", "maps") and data:
                        seen.append(f"OPEN /proc/{pid}/{name}")
            except OSError:
                pass
        try:
            seen.append(f"OPEN fd {os.listdir(f'/proc/{pid}/fd')}")
        except OSError:
            pass
        try:
            memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
            seen.append(f"OPEN /proc/{pid}/mem")
            for line in open(f"/proc/{pid}/maps"):
                low, high = (int(part, 16) for part in line.split()[0].split("-"))
                if "rw" in line:
                    try:
                        look(f"/proc/{pid}/mem", os.pread(memory, min(high - low, 1 << 26), low))
                    except (OSError, OverflowError):
                        pass
        except OSError:
            pass
        if libc.ptrace(16, pid, 0, 0) == 0:  # PTRACE_ATTACH
            seen.append(f"TRACED {pid}")
            os.waitpid(pid, 0)  # until it has stopped: before that it cannot be let go
            libc.ptrace(17, pid, 0, 0)
        try:
            handle = os.pidfd_open(pid)
            for number in range(10):
                if libc.syscall(438, handle, number, 0) >= 0:  # pidfd_getfd
                    seen.append(f"TOOK {pid}:{number}")
        except OSError:
            pass
        buffer = ctypes.create_string_buffer(4096)
        local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 4096)
        remote = (ctypes.c_size_t * 2)(0x400000, 4096)
        if libc.process_vm_readv(pid, local, 1, remote, 1, 0) > 0:
            seen.append(f"READ {pid}")
    for folder in ("/submission", "/tmp", "/dev/shm", "/output", "/base", "/run", "/proc/self/fd", "/var", "/etc"):
        for path, _, names in os.walk(folder):
            for name in names:
                try:
                    with open(os.open(os.path.join(path, name), os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                        look(os.path.join(path, name), file.read(1 << 20) or b"")
                except OSError:
                    pass
    try:
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(2)
            door.connect("/run/nano-r1.sock")
            seen.append("CONNECTED")
    except OSError:
        pass
    try:
        look("my own memory", b"".join(open(f"/proc/self/{name}", "rb").read() for name in ("environ", "cmdline")))
        memory = os.open("/proc/self/mem", os.O_RDONLY)
        pattern = b'"non' + b'ce": "'
        for line in open("/proc/self/maps"):
            low, high = (int(part, 16) for part in line.split()[0].split("-"))
            if "rw" in line:
                try:
                    data = os.pread(memory, min(high - low, 1 << 26), low)
                    seen.extend("NONCE in my own memory" for _ in re.findall(pattern + b"[0-9a-f]{32}", data))
                except (OSError, OverflowError):
                    pass
    except OSError:
        pass
    return [len(others), *sorted(set(seen))]
"""
REPORT = Problem("def search(): pass\n", "search", "def check(candidate):\n    raise ValueError(repr(candidate()))\n")


@needs_sandbox
def test_the_nonce_is_nowhere_to_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "CPU_SECONDS", 60)  # it reads all memory there is: seconds, on a busy machine many
    why = failure(SEARCH, REPORT)
    assert why is not None
    found = json.loads(why.removeprefix("ValueError: ").replace("'", '"'))
    assert found[0] >= 2  # it saw the supervisor and the examiner, and could do nothing with them
    assert found[1:] == []


@needs_sandbox
def test_it_would_be_found_if_the_examiner_could_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search has eyes: with the examiner's memory open, the same program finds the nonce."""
    text = Path(exam.__file__).read_text(encoding="utf-8")
    open_text = text.replace("if libc.prctl(4, 0, 0, 0, 0) or libc.prctl(3, 0, 0, 0, 0):", "if False:")
    assert open_text != text
    (tmp_path / "exam.py").write_text(open_text, encoding="utf-8")
    monkeypatch.setattr(code, "EXAM", tmp_path / "exam.py")
    monkeypatch.setattr(code, "CPU_SECONDS", 60)
    why = failure(SEARCH, REPORT)
    assert why is not None and re.search(r"NONCE in /proc/\d+/mem", why) and "OPEN /proc/" in why


# ---------------------------------------------------------------- exams that are broken themselves


@needs_sandbox
@pytest.mark.parametrize(
    ("tests", "why"),
    [
        ("def check(candidate):\n    pass\n", "the tests never called the program"),
        ("def check(candidate):\n    try:\n        candidate(1)\n    except:\n        pass\n",
        "the program raised TypeError"),
        ("def check(candidate):\n    try:\n        candidate(1)\n    except Exception:\n        pass\n",
        "the program raised TypeError"),
        ("def check(candidate):\n    candidate(object(), 1)\n", "TypeError: a value of type object cannot leave"),
        ("no Python", "SyntaxError: "),
        ("", "KeyError: 'check'"),
        ("def check(candidate):\n    candidate(1, 2); print('x' * 10 ** 6); raise SystemExit\n", "exited with code"),
    ],
)  # fmt: skip
def test_a_broken_exam_passes_nobody(tests: str, why: str) -> None:
    told = failure(RIGHT, Problem(ADD.prompt, "add", tests))
    if why == "exited with code":  # SystemExit ends the examiner in order, without a nonce
        assert told == "the examiner was ended"
    else:
        assert told is not None and told.startswith(why)


@needs_sandbox
def test_an_interrupt_is_the_end_and_no_answer() -> None:
    """A program can signal the examiner. As a KeyboardInterrupt a careless test would take it for what it wants."""
    program = (
        "import os, signal, time\ndef add(a, b):\n    if a < 0:\n        os.kill(os.getppid(), signal.SIGINT)\n"
        "        time.sleep(1)\n    return a + b\n"
    )
    tests = (
        "def check(candidate):\n    assert candidate(2, 3) == 5\n    try:\n        value = candidate(-1, 1)\n"
        "    except BaseException:\n        value = 7\n    assert value == 7\n"
    )
    assert failure(program, Problem(ADD.prompt, "add", tests)) == "was killed by signal 2 (Interrupt)"


@needs_sandbox
def test_what_tests_print_is_no_verdict() -> None:
    assert failure(RIGHT, Problem(ADD.prompt, "add", "print('hello')\n" + ADD.tests)) is None


# ---------------------------------------------------------------- values on the wire

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.tuples(st.integers()), inner, max_size=3)
        | st.sets(st.integers() | st.text(max_size=2), max_size=3)
        | st.frozensets(st.integers(), max_size=3)
    ),
    max_leaves=12,
)


@given(plain)
def test_values_come_back_as_they_went(value: Any) -> None:
    again = exam.decode(json.loads(json.dumps(exam.encode(value))))
    assert shown(again) == shown(value)


def shown(value: Any) -> str:
    """As text, in which NaN, -0.0 and True for 1 can be told apart. The order of a set says nothing."""
    if isinstance(value, list | tuple):
        return f"{type(value)}{[shown(item) for item in value]}"
    if isinstance(value, dict):
        return f"dict{[(shown(key), shown(item)) for key, item in value.items()]}"
    if isinstance(value, set | frozenset):
        return f"{type(value)}{sorted(map(shown, value))}"
    return repr(value)


messages = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([*exam.DECODERS]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*exam.DECODERS, "x"]), inner, max_size=2)
    ),
    max_leaves=12,
)


@given(messages)
def test_a_forged_message_is_a_plain_value_or_an_exception(message: Any) -> None:
    """What is built from it has no method that the program wrote."""
    plain_types = (type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, set, frozenset, dict)
    try:
        value = exam.decode(message)
    except Exception:
        return
    assert type(value) in plain_types


def test_large_numbers_and_what_cannot_travel() -> None:
    assert exam.decode(exam.encode(7**20_000)) == 7**20_000
    for value in (object(), print, (item for item in ()), range(3), {1: object()}):
        with pytest.raises(TypeError, match="cannot leave its process"):
            exam.encode(value)


# ---------------------------------------------------------------- problems with cases

SUMS = Cases((("2 3\n", "5\n"), ("10 -4\n", "6\n"), ("0 0\n", "0\n")))


@needs_sandbox
@pytest.mark.parametrize(
    "program",
    [
        "print(sum(map(int, input().split())))",
        "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())), end='')",
        "import sys\na, b = map(int, open(0).read().split())\nsys.stdout.write(f'  {a + b}  \\n\\n')",
        "if __name__ == '__main__':\n    print(sum(map(int, input().split())))",
    ],
)  # fmt: skip
def test_a_program_that_reads_and_writes(program: str) -> None:
    assert failure(program, SUMS) is None


@needs_sandbox
@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("print(5)", "case 1: wrong output"),
        ("a, b = map(int, input().split())\nprint(a + b, a + b)", "case 0: wrong output"),
        ("print(sum(map(int, input().split())))\nraise SystemExit(3)", "case 0: the program ended with 3"),
        ("import os\nos._exit(0)", "case 0: wrong output"),
        pytest.param(
            "import os, time\nos.close(1)\ntime.sleep(60)", "case 0: no end within 52 s", marks=pytest.mark.long
        ),
        ("while True: print('5' * 10 ** 6)", "case 0: too much output"),
        ("held = [bytearray(1 << 22) for _ in range(1000)]", "case 0: the program ended with 1"),
        (
            "import os\nfor pipe in range(20):\n    try: os.write(pipe, b'5 6 0')\n    except OSError: pass",
            "case 0: wrong output",
        ),
        (
            "try: print(open('/tmp/expected').read())\nexcept OSError: print(5)\nopen('/tmp/expected', 'w').write('5')",
            "case 1: wrong output",
        ),
    ],
)
def test_no_pass_but_by_writing_the_output(program: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "CPU_SECONDS", 20)  # none of these is meant to run into it
    assert failure(program, SUMS) == why


@needs_sandbox
@pytest.mark.parametrize(("granted", "why"), [(0.5, "case 0: the program ended with -9"), (3, None)])
def test_a_problem_may_grant_more_time(granted: float, why: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "CPU_SECONDS", 1)
    program = "import time\nwhile time.process_time() < 1.5: pass\nprint(5)"
    assert failure(program, Cases((("", "5"),), seconds=granted)) == why


@needs_sandbox
@pytest.mark.parametrize(("granted", "why"), [(1, "case 0: the program ended with 1"), (600, None)])
def test_a_problem_may_grant_more_memory(granted: float, why: str | None) -> None:
    program = "held = bytearray(400 << 20)\nprint(5)"
    assert failure(program, Cases((("", "5"),), megabytes=granted)) == why


DEEP = "import sys\nsys.setrecursionlimit(1 << 20)\ndef f(n): return n and 1 + f(n - 1)\n"
# Through C at each level, so the processor's own stack grows: Python frames alone would not need it.
DEEPER = DEEP.replace("def f", "from functools import cache\n@cache\ndef f")
# Python 3.12 and 3.13 count levels of C themselves, and raise RecursionError at 10,000 or fewer whatever the stack.
deepest = pytest.mark.skipif((3, 12) <= sys.version_info < (3, 14), reason="this Python has a limit of its own")


@needs_sandbox
@pytest.mark.parametrize(
    ("program", "given", "output"),
    [
        ("print(1)\nexit()", "", "1"),
        ("print(1)\nif True: quit()", "", "1"),
        ("print(1)\nexit(0)\nprint(2)", "", "1"),
        ("print(int(input()) + 1)", "7" * 5000, "7" * 4999 + "8"),
        ("print(10 ** 6000)", "", "1" + "0" * 6000),
        ("print(repr(open(0, newline='').read().split(' ')))", "2 3\r\n4\r\n", r"['2', '3\n4\n']"),
        ("import sys\nprint(sys.stdin.buffer.read())", "ab\r\n\r\n", r"b'ab\n\n'"),
        ("print(input()[-1])", "word\r\nword\r\n", "d"),
        (DEEP + "print(f(20_000))", "", "20000"),
        pytest.param(DEEPER + "print(f(20_000))", "", "20000", marks=deepest),
        pytest.param(
            DEEPER + "import threading\nthreading.stack_size(256 << 20)\n"
            "thread = threading.Thread(target=lambda: print(f(20_000)))\nthread.start()\nthread.join()",
            "", "20000", marks=deepest,
        ),
        ("import sys, threading\nthreads = [threading.Thread(target=sys.stdout.write, args=['1 ']) for _ in range(8)]\n"
         "for thread in threads: thread.start()\nfor thread in threads: thread.join()", "", "1 " * 8),
        ("import threading\nthreading.stack_size(64 << 20)\nprint(threading.stack_size())", "", "67108864"),
        ("import sys\nprint(__name__, len(sys.argv), __file__ == sys.argv[0])", "", "__main__ 1 True"),
    ],
)  # fmt: skip
def test_programs_run_as_their_authors_are_used_to(program: str, given: str, output: str) -> None:
    assert failure(program, Cases(((given, output),))) is None


@needs_sandbox
@deepest
def test_a_function_has_the_same_stack_and_names() -> None:
    program = f"{DEEPER}if f is None: exit()\nadd = lambda a, b: f(a) if b else len(str(10 ** a))\n"
    tests = "def check(candidate):\n    assert candidate(20_000, 1) == 20_000 and candidate(5_000, 0) == 5_001\n"
    assert failure(program, Problem(ADD.prompt, "add", tests)) is None


@needs_sandbox
def test_a_name_of_ours_is_not_left_behind() -> None:
    assert failure("print(sys.argv)", Cases((("", ""),))) == "case 0: the program ended with 1"


@pytest.mark.parametrize(
    ("output", "expected", "allowed", "same"),
    [
        ("yes\n", "YES", (True, 0), True), ("yes", "YES", (False, 0), False), ("yes no", "YES", (True, 0), False),
        ("0.33333334", "0.333333333", (False, 1e-6), True), ("0.3334", "0.3333", (False, 1e-6), False),
        ("1000000.5", "1000000", (False, 1e-6), True), ("1000002", "1000000", (False, 1e-6), False),
        ("5", "5.0000", (False, 1e-6), True), ("5e0", "5.0000", (False, 1e-6), True), ("5", "5.0", (False, 0), False),
        ("nan", "5.0", (False, 1e-6), False), ("inf", "5.0", (False, 1e-6), False), ("1e999", "5", (False, 1), False),
        ("1_0", "10.0", (False, 1e-6), False), ("0x5", "5", (False, 1e-6), False), ("", "5", (False, 1e-6), False),
        ("Yes 0.5", "YES 0.50000001", (True, 1e-6), True), ("9" * 10_000, "5", (False, 1e-6), False),
        ("5.0 5.0", "5.0", (False, 1e-6), False), ("٥", "5", (False, 1e-6), False),
    ],
)  # fmt: skip
def test_outputs_that_a_problem_allows(output: str, expected: str, allowed: tuple[bool, float], same: bool) -> None:
    assert exam._same(output.encode(), expected.encode(), *allowed) is same


@needs_sandbox
def test_what_a_problem_allows_reaches_the_examiner() -> None:
    sample = Sample("q", "", "", {
        "form": "stdin", "tests": [{"input": "", "output": "YES 0.5"}], "any_case": True, "tolerance": 1e-6,
    })  # fmt: skip
    assert failure("print('yes', 0.5000001)", code.problem_of(sample)) is None
    assert failure("print('yes', 0.51)", code.problem_of(sample)) == "case 0: wrong output"


def test_tests_that_are_too_large_are_not_the_programs_fault() -> None:
    with pytest.raises(GraderError, match="at most 33554432 can be graded"):
        failure("", Cases((("x" * (32 << 20), ""),)))


@needs_sandbox
def test_cases_are_graded_strictly_and_leniently() -> None:
    program = "print(sum(map(int, input().split())))"
    assert grade(completion(program), SUMS).strict
    given = grade(f"So:\n```python\n{program}\n```", SUMS)
    assert not given.strict and given.lenient
    assert failure(program, Cases(())) == "there are no cases"


# ---------------------------------------------------------------- programs in C++

GRADER = """#include <cstdio>
#include "sum.h"
int main() {
    int n; std::scanf("%d", &n);
    long long total = 0;
    for (int i = 0; i < n; i++) { int x; std::scanf("%d", &x); total = add(total, x); }
    std::printf("%lld\\n", total);
}
"""
SUM = Cases(
    (("3\n1 2 3\n", "6\n"), ("0\n", "0\n")),
    source="sum.cpp",
    files=(("graders/grader.cpp", GRADER), ("sum.h", "long long add(long long a, long long b);\n")),
)


@needs_sandbox
@needs_compiler
@pytest.mark.parametrize(
    ("program", "why"),
    [
        ('#include "sum.h"\nlong long add(long long a, long long b) { return a + b; }', None),
        ('#include "sum.h"\nlong long add(long long a, long long b) { return a - b; }', "case 0: wrong output"),
        ("long long add(long long a, long long b) { return a + ", "the program does not compile"),
        ("int add(int a) { return a; }", "the program does not compile"),  # it does, but grader.cpp finds no add
        ('#include <cstdlib>\nlong long add(long long a, long long b) { std::exit(0); }', "case 0: wrong output"),
        ('#include <cstdlib>\nlong long add(long long a, long long b) { std::abort(); }',
        "case 0: the program ended with -6"),
    ],
)  # fmt: skip
def test_a_program_is_compiled_with_the_files_of_its_problem(program: str, why: str | None) -> None:
    assert failure(program, SUM) == why


@needs_sandbox
@needs_compiler
def test_a_program_in_cpp_is_graded_strictly_and_leniently() -> None:
    program = '#include "sum.h"\nlong long add(long long a, long long b) { return a + b; }'
    assert grade(f"<think>so</think><answer>```cpp\n{program}\n```</answer>", SUM).strict
    given = grade(f"So:\n```c++\n{program}\n```\nor\n```python\nprint(6)\n```", SUM)
    assert not given.strict and given.lenient
    given = grade(completion("print(6)"), SUM)
    assert not given.strict and not given.lenient and given.why == "the answer is not one ```cpp block"


def test_without_a_compiler_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exam, "COMPILER", ["/nowhere/g++"])
    with pytest.raises(GraderError, match=r"/nowhere/g\+\+, which is not there: sudo apt-get install"):
        failure("", SUM)
