"""Programs by execution in the sandbox: HumanEval, and problems with cases (Codeforces, IOI).

A pass is a secret nonce, 128 random bits a run, written by our own examiner after the last test, with a run that was
within all its budgets and left nothing running. How the examiner keeps it from the program: exam.py.

Strict: the answer is one fenced block of Python, and it is a whole program: its own imports, the function by its
name. Only the standard library is there (`-S`), as in HumanEval. Where a problem brings C++ files (IOI), the block is
C++ and is compiled with them.

Lenient: the last fenced block anywhere, behind the prompt's imports and helpers; without a fence the completion goes on
from the prompt and is cut where a new top-level statement begins (Chen et al. 2021, arXiv:2107.03374, section 2.3).

Worst case a program: LIMITS.seconds of wall time (CASES_SECONDS where there are cases), and at most 31 s more if the
kernel does not let its processes die; a grade runs at most two programs. Raises SandboxError where the machine cannot
run a sandbox, never for a program.
"""

from __future__ import annotations

import json
import math
import re
import secrets
import socket
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from harness.answers import exam
from harness.answers.grade import Grade, GraderError, answer_of, final_part
from harness.isolation import sandbox
from harness.isolation.sandbox import Limits, Mounts

LONGEST_ANSWER = 50_000  # characters
LONGEST_PAPER = 32 << 20  # bytes of a problem, its tests in it, as the examiner reads it
CPU_SECONDS = 5  # of the candidate; where there are cases, of each
CASES_SECONDS = 300  # of wall time, for all cases of a problem together
MEMORY_BYTES = 256 << 20  # of the candidate
MOST_MEMORY_BYTES = 1 << 30  # of the candidate, whatever its problem grants
LIMITS = Limits(
    seconds=60,  # of wall time, for what sleeps; on a busy machine 5 s of processor time may take as long
    memory_bytes=256 << 20,  # for the examiner, beside the candidate
    shm_bytes=64 << 20,
    output_bytes=1 << 20,
    log_bytes=1 << 16,
    processes=32,
    cores=1,
)
INSTALL = "sudo apt-get install -y g++"
EXAM = Path(exam.__file__)

PYTHON = ("", "python", "python3", "py")
CPP = ("", "cpp", "c++", "cc")
_NEXT = re.compile(r"\n(?:class|def|if|print|from|import|@|#|```)")


@dataclass(frozen=True)
class Problem:
    """`prompt` is Python that ends with the head and docstring of the function; `tests` define `check(candidate)`."""

    prompt: str
    entry_point: str
    tests: str


@dataclass(frozen=True)
class Cases:
    """Inputs and the one right output of each. Outputs are compared word by word: white space does not count.

    `seconds` (of processor time) and `megabytes` are what the problem grants for one case, usually with compiled
    programs in mind; 0 where it says nothing. Ours are never less than CPU_SECONDS and MEMORY_BYTES.

    With `source`, a file name such as nile.cpp, programs are C++, and are compiled with `files`: (name, content) each.
    """

    cases: tuple[tuple[str, str], ...]
    seconds: float = 0
    megabytes: float = 0
    source: str = ""
    files: tuple[tuple[str, str], ...] = ()


def failure(program: str, problem: Problem | Cases) -> str | None:
    """Run one program on a problem's tests or cases. None: it passed; else a sentence that says why it did not."""
    if isinstance(problem, Cases):
        cpu_seconds = max(CPU_SECONDS, math.ceil(min(problem.seconds, CASES_SECONDS)))
        memory_bytes = max(MEMORY_BYTES, min(int(problem.megabytes * (1 << 20)), MOST_MEMORY_BYTES))
        limits = replace(LIMITS, seconds=CASES_SECONDS)
    else:
        cpu_seconds, memory_bytes, limits = CPU_SECONDS, MEMORY_BYTES, LIMITS
    at_once = max(memory_bytes, exam.COMPILE_BYTES if _is_compiled(problem) else 0)
    limits = replace(limits, memory_bytes=limits.memory_bytes + at_once)
    if _is_compiled(problem) and not Path(exam.COMPILER[0]).exists():
        raise GraderError(f"programs in C++ need {exam.COMPILER[0]}, which is not there: {INSTALL}")
    if (size := paper_bytes(problem)) > LONGEST_PAPER:
        raise GraderError(f"the tests of this problem have {size} bytes; at most {LONGEST_PAPER} can be graded")
    nonce = secrets.token_hex(16)
    data = json.dumps({"nonce": nonce, "program": program, **_paper(problem)}).encode()
    with tempfile.TemporaryDirectory(prefix="nano-r1-exam-") as name:
        place = Path(name)
        for folder in (place / "submission", place / "base", place / "output"):
            folder.mkdir()
        (place / "submission" / "exam.py").write_bytes(EXAM.read_bytes())
        for path in (place, *place.rglob("*")):  # the sandbox user must be able to read them, whatever the umask
            path.chmod(0o755)
        mounts = Mounts(place / "submission", place / "base", place / "output", place / "socket")
        argv = [*exam.FLAGS, "exam.py", "examiner", str(memory_bytes), str(cpu_seconds)]
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place / "socket"))
            listener.listen(1)
            desk = threading.Thread(target=_hand_over, args=(listener, data))
            desk.start()
            try:
                usage = sandbox.run(argv, mounts=mounts, limits=limits, level="full")
            finally:
                with suppress(OSError):  # closed already if the examiner came
                    listener.shutdown(socket.SHUT_RDWR)
                desk.join()
    if usage.failure is not None:
        return usage.failure
    if usage.log == nonce.encode():
        return None
    return usage.log.decode(errors="replace").removeprefix("failed: ") or "the examiner was ended"


def _is_compiled(problem: Problem | Cases) -> bool:
    return isinstance(problem, Cases) and bool(problem.source)


def paper_bytes(problem: Problem | Cases) -> int:
    """How large a problem is; more than LONGEST_PAPER cannot be graded, whatever the program."""
    return len(json.dumps(_paper(problem)))


def _paper(problem: Problem | Cases) -> dict[str, object]:
    """A problem as the examiner reads it."""
    if isinstance(problem, Problem):
        return {"prompt": problem.prompt, "entry_point": problem.entry_point, "tests": problem.tests}
    if not problem.source:
        return {"cases": problem.cases}
    files = [(Path(name).name, text) for name, text in problem.files]
    return {"cases": problem.cases, "source": Path(problem.source).name, "files": files}


def _hand_over(listener: socket.socket, paper: bytes) -> None:
    """To the first that comes, which is the examiner: no program runs before it has this. No second may come."""
    with suppress(OSError):
        examiner, _ = listener.accept()
        listener.close()
        with examiner:
            examiner.settimeout(LIMITS.seconds)
            examiner.sendall(paper)


def strict(answer: str, problem: Problem | Cases) -> str | None:
    """None: passed; else why not."""
    fence = "```cpp" if _is_compiled(problem) else "```python"
    lines = answer.strip("\n").split("\n")
    if len(lines) < 3 or lines[0] != fence or lines[-1] != "```" or answer.count("```") != 2:
        return f"the answer is not one {fence} block"
    return failure("\n".join(lines[1:-1]) + "\n", problem)


def lenient_program(completion: str, problem: Problem | Cases) -> str:
    """The program that common harnesses would run for this completion."""
    text = final_part(completion)
    block = _last_block(text, CPP if _is_compiled(problem) else PYTHON)
    if isinstance(problem, Cases):
        return text if block is None else block
    if block is not None:
        return f"{problem.prompt}\n\n{block}"
    return problem.prompt + _NEXT.split(text[:LONGEST_ANSWER])[0] + "\n"


def _last_block(text: str, languages: tuple[str, ...]) -> str | None:
    """What the last closed block in fences of one of these languages holds. Linear, which a pattern would not be."""
    found: str | None = None
    inside: list[str] | None = None
    language = ""
    for line in text.split("\n"):
        if not line.strip(" \t\r").startswith("```"):
            if inside is not None:
                inside.append(line)
        elif inside is None:
            inside, language = [], line.strip(" \t\r").removeprefix("```").strip().lower()
        else:
            if language in languages:
                found = "\n".join(inside) + "\n"
            inside = None
    return found


def grade(completion: str, problem: Problem | Cases) -> Grade:
    answer = answer_of(completion, LONGEST_ANSWER)
    why = "no answer in the format" if answer is None else strict(answer, problem)
    right = why is None
    program = lenient_program(completion, problem)
    passes = right or (len(program) <= 2 * LONGEST_ANSWER and failure(program, problem) is None)
    return Grade(strict=right, lenient=passes, answer=answer, why=why)
