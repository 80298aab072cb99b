"""Programs by execution: HumanEval, and problems with cases (Codeforces, IOI).

A pass is a secret nonce, 128 random bits a run, written by our own examiner after the last test, with a run that was
within all its budgets and left nothing running. How the examiner keeps it from the program: exam.py. Where the examiner
runs is the business of whoever makes the grader (ProgramRunner): a sandbox (harness/evaluation/programs.py).

Strict: the answer is one fenced block of Python, and it is a whole program: its own imports, the function by its
name. Only the standard library is there (`-S`), as in HumanEval. Where a problem has C++ files (IOI), the block is
C++ and is compiled with them.

Lenient: the last fenced block anywhere, behind the prompt's imports and helpers; without a fence the completion goes on
from the prompt and is cut where a new top-level statement begins (Chen et al. 2021, arXiv:2107.03374, section 2.3).

Worst case a program: SECONDS of wall time (CASES_SECONDS where there are cases), and at most 31 s more if the kernel
does not let its processes die; a grade runs at most two programs. Raises what the runner raises where the machine
cannot run it, never for a program.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from harness.answers import exam
from harness.answers.grade import Grade, GraderError, answer_of, final_part
from harness.answers.kind import Kind, required
from harness.frozen.format import Sample

LONGEST_ANSWER = 50_000  # characters
LONGEST_PAPER = 32 << 20  # bytes of a problem, its tests in it, as the examiner reads it
CPU_SECONDS = 5  # of the candidate; where there are cases, of each
SECONDS = 60  # of wall time, for what sleeps; on a busy machine 5 s of processor time may take as long
CASES_SECONDS = 300  # of wall time, for all cases of a problem together
MEMORY_BYTES = 256 << 20  # of the candidate
MOST_MEMORY_BYTES = 1 << 30  # of the candidate, whatever its problem grants
EXAMINER_BYTES = 256 << 20  # of memory, beside the candidate
INSTALL = "sudo apt-get install -y g++"
EXAM = Path(exam.__file__)

PYTHON = ("", "python", "python3", "py")
CPP = ("", "cpp", "c++", "cc")
_NEXT = re.compile(r"\n(?:class|def|if|print|from|import|@|#|```)")

_WHOLE_PROGRAM = "The answer is one ```python block with a whole program, imports included."
# By a problem's form: what is compiled with the files of its problem has main in one of those.
_ASK = {
    "function": _WHOLE_PROGRAM,
    "stdin": _WHOLE_PROGRAM,
    "ioi": "The answer is one ```cpp block with a whole file, includes included: what the problem asks for, no main.",
}


class ProgramRunner(Protocol):
    """Runs a script of ours, which starts a program that nobody trusts, where neither can do harm."""

    def __call__(
        self, script: Path, arguments: Sequence[str], data: bytes, *, seconds: int, memory_bytes: int
    ) -> tuple[str | None, bytes]:
        """(why it failed or was ended, None if it was not; what it wrote). `data` goes to the first that connects to
        the socket of the variable NANO_R1_SOCKET, and to nobody else. Raises an error of its own where a machine cannot
        run anything."""


@dataclass(frozen=True)
class Problem:
    """`prompt` is Python that ends with the head and docstring of the function; `tests` define `check(candidate)`."""

    prompt: str
    entry_point: str
    tests: str


@dataclass(frozen=True)
class Cases:
    """Inputs and the one right output of each. Outputs are compared word by word: white space does not count.

    `any_case`: nor does the case of letters. `tolerance`: numbers may differ by so much, absolute or relative.

    `seconds` (of processor time) and `megabytes` are what the problem grants for one case, usually with compiled
    programs in mind; 0 where it says nothing. Ours are never less than CPU_SECONDS and MEMORY_BYTES.

    With `source`, a file name such as nile.cpp, programs are C++, and are compiled with `files`: (name, content) each.
    """

    cases: tuple[tuple[str, str], ...]
    seconds: float = 0
    megabytes: float = 0
    source: str = ""
    files: tuple[tuple[str, str], ...] = ()
    any_case: bool = False
    tolerance: float = 0


def problem_of(sample: Sample) -> Problem | Cases:
    """By metadata's form. Limits are those of one test; 0 or None where the data set says nothing. Raises GraderError.

    function  stub, entry_point, test
    stdin     tests, a list of {input, output}; time_limit_seconds, memory_limit_mb; any_case and tolerance, where
              the problem allows more outputs than one
    ioi       the same, but memory_limit_bytes; problem and files, {name: content}, to compile problem.cpp with
    """
    form = required(sample, "form")
    if form == "function":
        return Problem(*(required(sample, key) for key in ("stub", "entry_point", "test")))
    if form not in _ASK:
        raise GraderError(f"there is no grader for programs of form {form!r}; there are {', '.join(_ASK)}")
    tests = required(sample, "tests")
    if any(isinstance(test, str) for test in tests):
        problem = required(sample, "problem")
        raise GraderError(f"{problem} has the names of its tests only: put inputs and outputs in place")
    for key in ("input", "output"):
        if any(key not in test for test in tests):
            raise GraderError(f"this question cannot be graded: a test in its metadata has no {key!r}")
    cases = tuple((test["input"], test["output"]) for test in tests)
    seconds = sample.metadata.get("time_limit_seconds") or 0
    if form == "stdin":
        return Cases(
            cases,
            seconds,
            sample.metadata.get("memory_limit_mb") or 0,
            any_case=bool(sample.metadata.get("any_case")),
            tolerance=float(sample.metadata.get("tolerance") or 0),
        )
    megabytes = (sample.metadata.get("memory_limit_bytes") or 0) / (1 << 20)
    files = tuple(required(sample, "files").items())
    return Cases(cases, seconds, megabytes, f"{required(sample, 'problem')}.cpp", files)


class Code(Kind):
    """`metadata`: form, and what it needs (problem_of)."""

    name: ClassVar[str] = "code"
    longest: ClassVar[int] = LONGEST_ANSWER

    def __init__(self, run: ProgramRunner) -> None:
        self.run = run

    def ask(self, sample: Sample) -> str:
        return _ASK[required(sample, "form")]

    def strict(self, sample: Sample, answer: str) -> bool:
        return self.fault(answer, problem_of(sample)) is None

    def lenient(self, sample: Sample, completion: str) -> bool:
        problem = problem_of(sample)
        program = lenient_program(completion, problem)
        return len(program) <= 2 * LONGEST_ANSWER and self.failure(program, problem) is None

    def grade(self, sample: Sample, completion: str) -> Grade:
        problem, answer = problem_of(sample), answer_of(completion, self.longest)
        why = "no answer in the format" if answer is None else self.fault(answer, problem)
        right = why is None
        return Grade(strict=right, lenient=right or self.lenient(sample, completion), answer=answer, why=why)

    def refusal(self, sample: Sample) -> str | None:
        too_large = paper_bytes(problem_of(sample)) > LONGEST_PAPER
        return f"its tests are larger than {LONGEST_PAPER >> 20} MiB" if too_large else None

    def attacks(self, sample: Sample) -> list[str]:
        return ["", "pass", "```python\npass\n```", "```python\nraise SystemExit(0)\n```", sample.prompt[:200]]

    def fault(self, answer: str, problem: Problem | Cases) -> str | None:
        """Why an answer is not right; None if it is."""
        fence = "```cpp" if _is_compiled(problem) else "```python"
        lines = answer.strip("\n").split("\n")
        if len(lines) < 3 or lines[0] != fence or lines[-1] != "```" or answer.count("```") != 2:
            return f"the answer is not one {fence} block"
        return self.failure("\n".join(lines[1:-1]) + "\n", problem)

    def failure(self, program: str, problem: Problem | Cases) -> str | None:
        """Run one program on a problem's tests or cases. None: it passed; else a sentence that says why it did not."""
        cpu_seconds, memory_bytes, seconds = CPU_SECONDS, MEMORY_BYTES, SECONDS
        if isinstance(problem, Cases):
            cpu_seconds = max(CPU_SECONDS, math.ceil(min(problem.seconds, CASES_SECONDS)))
            memory_bytes = max(MEMORY_BYTES, min(int(problem.megabytes * (1 << 20)), MOST_MEMORY_BYTES))
            seconds = CASES_SECONDS
        if _is_compiled(problem) and not Path(exam.COMPILER[0]).exists():
            raise GraderError(f"programs in C++ need {exam.COMPILER[0]}, which is not there: {INSTALL}")
        if (size := paper_bytes(problem)) > LONGEST_PAPER:
            raise GraderError(f"the tests of this problem have {size} bytes; at most {LONGEST_PAPER} can be graded")
        nonce = secrets.token_hex(16)
        failure, output = self.run(
            EXAM,
            ["examiner", str(memory_bytes), str(cpu_seconds)],
            json.dumps({"nonce": nonce, "program": program, **_paper(problem)}).encode(),
            seconds=seconds,
            memory_bytes=EXAMINER_BYTES + max(memory_bytes, exam.COMPILE_BYTES if _is_compiled(problem) else 0),
        )
        if failure is not None or output == nonce.encode():
            return failure
        return output.decode(errors="replace").removeprefix("failed: ") or "the examiner was ended"


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
        return {"cases": problem.cases, "any_case": problem.any_case, "tolerance": problem.tolerance}
    files = [(Path(name).name, text) for name, text in problem.files]
    return {"cases": problem.cases, "source": Path(problem.source).name, "files": files}


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
    block: str | None = None
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
                block = "\n".join(inside) + "\n"
            inside = None
    return block
