"""Programs by execution in the sandbox: HumanEval, and problems with cases (Codeforces, IOI).

A pass is a secret nonce, 128 random bits a run, written by our own examiner after the last test, with a run that was
within all its budgets and left nothing running. How the examiner keeps it from the program: exam.py.

Strict: the answer is one fenced block of Python, and it is a whole program: its own imports, the function by its
name. Only the standard library is there (`-S`), as in HumanEval.

Lenient: the last fenced block anywhere, behind the prompt's imports and helpers; without a fence the completion goes on
from the prompt and is cut where a new top-level statement begins (Chen et al. 2021, arXiv:2107.03374, section 2.3).

Worst case a program: LIMITS.seconds of wall time (a problem with cases has its own), and at most 31 s more if the kernel does not let its processes die; a
grade runs at most two programs. Raises SandboxError where the machine cannot run a sandbox, never for a program.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
import tempfile
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness import sandbox
from harness.graders import exam
from harness.graders.grade import Grade, answer_of, final_part
from harness.sandbox import Limits, Mounts

LONGEST_ANSWER = 50_000  # characters
CPU_SECONDS = 5  # of the candidate
MEMORY_BYTES = 256 << 20  # of the candidate; the sandbox has room for both
LIMITS = Limits(
    seconds=15,
    memory_bytes=512 << 20,
    shm_bytes=16 << 20,
    output_bytes=1 << 20,
    log_bytes=1 << 16,
    processes=32,
    cores=1,
)
EXAM = Path(exam.__file__)

_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)\n[ \t]*```", re.DOTALL)
_NEXT = re.compile(r"\n(?:class|def|if|print|from|import|@|#|```)")


@dataclass(frozen=True)
class Problem:
    """`prompt` is Python that ends with the head and docstring of the function; `tests` define `check(candidate)`."""

    prompt: str
    entry_point: str
    tests: str


@dataclass(frozen=True)
class Cases:
    """Inputs and the one right output of each. Outputs are compared word by word: white space does not count."""

    cases: tuple[tuple[str, str], ...]
    seconds: int = LIMITS.seconds  # of wall time, for all of them together


def failure(program: str, problem: Problem | Cases) -> str | None:
    """Run one program on a problem's tests or cases. None: it passed; else a sentence that says why it did not."""
    limits = replace(LIMITS, seconds=problem.seconds) if isinstance(problem, Cases) else LIMITS
    nonce = secrets.token_hex(16)
    paper = {"nonce": nonce, "program": program, **asdict(problem)}
    with tempfile.TemporaryDirectory(prefix="nano-r1-exam-") as name:
        place = Path(name)
        place.chmod(0o755)  # the sandbox user must be able to enter
        for folder in ("submission", "base", "output"):
            (place / folder).mkdir(mode=0o755)
        (place / "submission" / "exam.py").write_bytes(EXAM.read_bytes())
        mounts = Mounts(place / "submission", place / "base", place / "output", place / "socket")
        argv = [*exam.FLAGS, "exam.py", "examiner", str(MEMORY_BYTES), str(CPU_SECONDS)]
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place / "socket"))
            listener.listen(1)
            desk = threading.Thread(target=_hand_over, args=(listener, json.dumps(paper).encode()))
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
    lines = answer.strip("\n").split("\n")
    if len(lines) < 3 or lines[0] != "```python" or lines[-1] != "```" or answer.count("```") != 2:
        return "the answer is not one ```python block"
    return failure("\n".join(lines[1:-1]) + "\n", problem)


def lenient_program(completion: str, problem: Problem | Cases) -> str:
    """The program that common harnesses would run for this completion."""
    text = final_part(completion)
    blocks = _BLOCK.findall(text)
    if isinstance(problem, Cases):
        return blocks[-1] + "\n" if blocks else text
    if blocks:
        return f"{problem.prompt}\n\n{blocks[-1]}\n"
    return problem.prompt + _NEXT.split(text[:LONGEST_ANSWER])[0] + "\n"


def grade(completion: str, problem: Problem | Cases) -> Grade:
    answer = answer_of(completion, LONGEST_ANSWER)
    why = "no answer in the format" if answer is None else strict(answer, problem)
    right = why is None
    program = lenient_program(completion, problem)
    passes = right or (len(program) <= 2 * LONGEST_ANSWER and failure(program, problem) is None)
    return Grade(strict=right, lenient=passes, answer=answer, why=why)
