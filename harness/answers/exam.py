"""Runs inside the sandbox, from its own text and the standard library alone: an examiner and a candidate.

    harness ──exam──▶ examiner ──program──▶ candidate          two processes, two pipes between them
            ◀─nonce──          ──calls────▶
                               ◀─values────

The examiner gets the tests and the nonce over the harness's socket. It runs the tests, in which the function under test
is a stand-in that sends its arguments to the candidate and gives back the value that comes. The candidate is a fresh
interpreter that knows the program and nothing else: the tests, the expected values, the comparison and the nonce are in
another process, and so a program cannot patch, read, catch or print its way to a pass. It can only answer.

- What comes back is data: plain types, rebuilt here. An object whose `__eq__` always says yes does not travel.
- The examiner is not dumpable (prctl): a process of the same uid may then neither trace it, nor read its memory,
  environment or descriptors in /proc, nor take a descriptor from it. Its command line stays readable, and says nothing.
- The candidate is started by exec before the exam has arrived, so no copy of it is in its memory; its standard streams
  are /dev/null, and the harness's socket takes one connection, which is used up before the program starts.
- Helpers that the tests use (`poly` of HumanEval/32) come from the prompt, not from the program.

A function is asked the same questions in the same order as in the original, so a program that knows the tests by heart
can still answer from memory. Arguments travel as copies: what a program does to them in place the tests do not see.

A problem may have cases instead of tests: an input and an output each. The program is then started anew for each case,
with the input as its standard input, and the examiner compares what it writes, word by word; where the problem says so,
whatever the case of letters, or within an error. A case has a limit of
processor time, and one of wall time for a program that sleeps. A program in C++ is compiled first, with the files that
belong to its problem.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import re
import resource
import select
import signal
import socket
import sys
import time
import types
from typing import Any

LONGEST = 1 << 20  # bytes of a message between examiner and candidate
DEEPEST = 50  # levels of nesting in a value
# No packages and no folder of ours on the path, and no limit on the digits of an integer that is read or printed. The
# hash seed that the sandbox sets holds.
FLAGS = ["-s", "-S", "-P", "-X", "int_max_str_digits=0"]
FOLDER = "/tmp/program"  # of a program that reads and writes
COMPILER = ["/usr/bin/g++", "-std=gnu++17", "-O2", "-o", f"{FOLDER}/a.out"]
COMPILE_SECONDS = 30  # of processor time
COMPILE_BYTES = 1 << 30  # of memory
STACK_BYTES = 256 << 20  # of address space, beside the memory: for a thread that asks for a stack of so much
# What programs are used to. `exit` and `quit` come from `site`, which -S leaves out. The first thread's stack may grow
# as large as the memory; other threads get one of the usual size, or the size that the program sets.
PRELUDE = """
import _thread, builtins, resource, sys
builtins.exit = builtins.quit = sys.exit
real, (start, most) = _thread.stack_size, resource.getrlimit(resource.RLIMIT_AS)
def stack_size(size=0):
    before = real(size or 8 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (min(start + size, most), most))
    return before
stack_size()
_thread.stack_size = stack_size
"""
# What starts a program that reads and writes: in `__main__`, with no name there but its own.
START = f"""
exec({PRELUDE!r}, {{}})
import sys
del sys.argv[0]
__file__ = sys.argv[0]
del sys
exec(compile(open(__file__, "rb").read(), __file__, "exec"))
"""
_NUMBER = re.compile(rb"[-+]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][-+]?[0-9]{1,4})?")


# ---------------------------------------------------------------- values as JSON: plain types only


def encode(value: Any, depth: int = 0) -> Any:
    """A value of plain types as JSON. Raises TypeError for any other, and for more than DEEPEST levels."""
    if depth > DEEPEST:
        raise TypeError("a value nested too deeply cannot leave its process")
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return {"int": int.__format__(value, "x")}  # as text and in hexadecimal: no limit on digits
    if isinstance(value, float):
        return {"float": float.hex(value)}
    if isinstance(value, complex):
        return {"complex": [float.hex(value.real), float.hex(value.imag)]}
    if isinstance(value, bytes | bytearray):
        return {type(value).__name__: value.hex()}
    if isinstance(value, list):
        return [encode(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {"dict": [[encode(key, depth + 1), encode(item, depth + 1)] for key, item in value.items()]}
    for kind in (tuple, set, frozenset):
        if isinstance(value, kind):
            return {kind.__name__: [encode(item, depth + 1) for item in value]}
    raise TypeError(f"a value of type {type(value).__name__} cannot leave its process")


DECODERS: dict[str, Any] = {
    "int": lambda text: int(text, 16),
    "float": float.fromhex,
    "complex": lambda parts: complex(float.fromhex(parts[0]), float.fromhex(parts[1])),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "tuple": lambda items: tuple(map(decode, items)),
    "set": lambda items: set(map(decode, items)),
    "frozenset": lambda items: frozenset(map(decode, items)),
    "dict": lambda pairs: {decode(key): decode(item) for key, item in pairs},
}


def decode(message: Any) -> Any:
    """The inverse of encode. Raises Exceptions of many kinds for a message that encode would not write."""
    if message is None or isinstance(message, bool | str):
        return message
    if isinstance(message, list):
        return [decode(item) for item in message]
    ((kind, content),) = message.items()
    return DECODERS[kind](content)


def send(pipe: int, message: Any) -> None:
    data = json.dumps(message).encode()
    if len(data) > LONGEST:
        raise TypeError("a value too large cannot leave its process")
    data = len(data).to_bytes(4, "big") + data
    while data:
        data = data[os.write(pipe, data) :]


def receive(pipe: int) -> Any:
    """The next message. Raises EOFError when the other side is gone, ValueError for what is no message."""
    size = int.from_bytes(_exactly(pipe, 4), "big")
    if size > LONGEST:
        raise ValueError("a message too long")
    return json.loads(_exactly(pipe, size))


def _exactly(pipe: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = os.read(pipe, size - len(data))
        if not more:
            raise EOFError
        data += more
    return bytes(data)


# ---------------------------------------------------------------- the candidate


def candidate(memory_bytes: int, cpu_seconds: int) -> None:
    """Load the program and answer calls, until one raises or the examiner ends it.

    Streams 0 and 1 are the pipes at first.
    """
    calls, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    _limit(memory_bytes, cpu_seconds)
    task = receive(calls)
    exec(PRELUDE, {})
    module = types.ModuleType("solution")
    sys.modules["solution"] = module  # dataclasses and typing look their module up
    try:
        exec(compile(task["program"], "<solution>", "exec", dont_inherit=True), module.__dict__)
        function = module.__dict__[task["entry_point"]]
        while True:
            arguments, keywords = decode(receive(calls))
            send(replies, {"value": encode(function(*arguments, **keywords))})
    except BaseException as error:
        send(replies, {"error": type(error).__name__})


def runner(memory_bytes: int, cpu_seconds: int, *command: str) -> None:
    """Become a program within limits."""
    _limit(memory_bytes, cpu_seconds)
    resource.setrlimit(resource.RLIMIT_STACK, (memory_bytes, memory_bytes))
    os.execv(command[0], command)


def _limit(memory_bytes: int, cpu_seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes + STACK_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))


# ---------------------------------------------------------------- the examiner


class Failed(BaseException):
    """The candidate has failed. Not an Exception, so that no `except Exception` in a test takes it for an answer."""


class Stand:
    """Stands in for the function under test: a call is a message to the candidate and the value that comes back."""

    def __init__(self, calls: int, replies: int) -> None:
        self._calls, self._replies = calls, replies
        self.asked = 0
        self.failure: str | None = None

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        self.asked += 1
        question = encode((list(arguments), keywords))
        try:
            send(self._calls, question)
            reply = receive(self._replies)
            if "error" not in reply:
                return decode(reply["value"])
            self.failure = f"the program raised {str(reply['error'])[:100]}"
        except (BrokenPipeError, EOFError):
            self.failure = "the program ended before it had answered"
        except Exception as error:
            self.failure = f"the program gave no value: {type(error).__name__}: {error}"[:200]
        raise Failed


def examiner(memory_bytes: int, cpu_seconds: int) -> None:
    """Take the exam from the harness, put it to a candidate, and write the nonce if and only if it passes."""
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, what tests print is no verdict
    # From the program it is the examiner's end. As a KeyboardInterrupt a test could take it for an answer.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    libc = ctypes.CDLL(None)
    if libc.prctl(4, 0, 0, 0, 0) or libc.prctl(3, 0, 0, 0, 0):  # PR_SET_DUMPABLE, PR_GET_DUMPABLE
        raise SystemExit("the examiner cannot hide its memory")
    theirs, calls = os.pipe()
    replies, ours = os.pipe()
    resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, resource.getrlimit(resource.RLIMIT_STACK)[1]))
    process = _start(["candidate", str(memory_bytes), str(cpu_seconds)], theirs, ours)  # before the exam is here
    os.close(theirs)
    os.close(ours)

    with socket.socket(socket.AF_UNIX) as harness:
        harness.connect(os.environ["NANO_R1_SOCKET"])
        exam = json.loads(b"".join(iter(lambda: harness.recv(1 << 16), b"")))
    failure = _run_cases(exam, memory_bytes, cpu_seconds) if "cases" in exam else _sit(exam, calls, replies)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    os.write(1, (exam["nonce"] if failure is None else f"failed: {failure}").encode(errors="replace"))


def _start(arguments: list[str], stdin: int, stdout: int) -> int:
    streams = [
        (os.POSIX_SPAWN_DUP2, stdin, 0),
        (os.POSIX_SPAWN_DUP2, stdout, 1),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "NANO_R1_SOCKET"}
    return os.posix_spawn(
        sys.executable, [sys.executable, *FLAGS, __file__, *arguments], environment, file_actions=streams
    )


def _sit(exam: dict[str, str], calls: int, replies: int) -> str | None:
    """Run the tests. None: passed; else why not."""
    stand = Stand(calls, replies)
    tests: dict[str, Any] = {"__name__": "exam"}
    try:
        exec(compile(exam["prompt"], "<prompt>", "exec", dont_inherit=True), tests)
        tests[exam["entry_point"]] = stand
        exec(compile(exam["tests"], "<tests>", "exec", dont_inherit=True), tests)
        send(calls, {"program": exam["program"], "entry_point": exam["entry_point"]})
        tests["check"](stand)
    except (Failed, Exception) as error:
        return stand.failure or f"{type(error).__name__}: {error}"[:300]
    return stand.failure or (None if stand.asked else "the tests never called the program")


def _run_cases(exam: dict[str, Any], memory_bytes: int, cpu_seconds: int) -> str | None:
    """Run the program once a case. None: every output was right; else why not."""
    command = _build(exam)
    if command is None:
        return "the program does not compile"
    for number, (data, expected) in enumerate(exam["cases"]):
        stdin = os.memfd_create("input")
        with open(stdin, "wb", closefd=False) as feed:
            feed.write(data.replace("\r\n", "\n").encode())
        os.lseek(stdin, 0, os.SEEK_SET)
        most = LONGEST + len(expected)
        output, code = _run(command, stdin, memory_bytes, cpu_seconds, most)
        os.close(stdin)
        if len(output) > most:
            return f"case {number}: too much output"
        if code is None:
            return f"case {number}: no end within {_wall_seconds(cpu_seconds)} s"
        if code != 0:
            return f"case {number}: the program ended with {code}"
        if not _same(output, expected.encode(), exam.get("any_case", False), exam.get("tolerance", 0)):
            return f"case {number}: wrong output"
    return None if exam["cases"] else "there are no cases"


def _same(output: bytes, expected: bytes, any_case: bool, tolerance: float) -> bool:
    """Word by word. Numbers may differ by the tolerance, absolute or relative, whichever is more."""
    if any_case:
        output, expected = output.lower(), expected.lower()
    ours, theirs = output.split(), expected.split()
    return len(ours) == len(theirs) and all(
        a == b or (tolerance > 0 and _is_near(a, b, tolerance)) for a, b in zip(ours, theirs, strict=True)
    )


def _is_near(word: bytes, expected: bytes, tolerance: float) -> bool:
    if not (_NUMBER.fullmatch(word) and _NUMBER.fullmatch(expected)):
        return False
    value, right = float(word), float(expected)
    return math.isfinite(value) and abs(value - right) <= tolerance * max(1.0, abs(right))


def _build(exam: dict[str, Any]) -> list[str] | None:
    """Write the program down, and compile it if it is C++. The command that runs it; None if there is none."""
    os.mkdir(FOLDER)
    own = f"{FOLDER}/{exam.get('source', 'program.py')}"
    for path, text in [*((f"{FOLDER}/{name}", text) for name, text in exam.get("files", ())), (own, exam["program"])]:
        with open(path, "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(text)
    if "source" not in exam:
        return [sys.executable, *FLAGS, "-c", START, own]
    sources = sorted(f"{FOLDER}/{name}" for name in os.listdir(FOLDER) if name.endswith((".cpp", ".cc", ".c")))
    null = os.open(os.devnull, os.O_RDONLY)
    _, code = _run([*COMPILER, *sources], null, COMPILE_BYTES, COMPILE_SECONDS, LONGEST)
    os.close(null)
    return [f"{FOLDER}/a.out"] if code == 0 else None


def _wall_seconds(cpu_seconds: int) -> int:
    return 2 * cpu_seconds + 50


def _run(command: list[str], stdin: int, memory_bytes: int, cpu_seconds: int, most: int) -> tuple[bytes, int | None]:
    """What a process writes, and its exit code; None if it had to be ended, for the time or for writing too much."""
    pipe, theirs = os.pipe()
    process = _start(["runner", str(memory_bytes), str(cpu_seconds), *command], stdin, theirs)
    os.close(theirs)
    pidfd = os.pidfd_open(process)
    deadline = time.monotonic() + _wall_seconds(cpu_seconds)
    output = bytearray()
    code: int | None = None
    for descriptor in (pipe, pidfd):  # it may close its output and go on, so wait for both
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while len(output) <= most and poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            if descriptor == pidfd:
                code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
                break
            more = os.read(pipe, 1 << 16)
            if not more:
                break
            output += more
    if code is None:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    os.close(pipe)
    os.close(pidfd)
    return bytes(output), code


if __name__ == "__main__":
    _, part, memory, seconds, *command = sys.argv
    {"examiner": examiner, "candidate": candidate, "runner": runner}[part](int(memory), int(seconds), *command)
