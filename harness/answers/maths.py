"""Maths answers in LaTeX: MATH, AIME, OpenR1-Math.

What is the same as what says equivalence.py, in a pool of processes that can be killed (pool.py).

Worst case: strict and lenient each take at most CPU_SECONDS + 1 s of processor time, twice if the process had been used
before, and never more than twice WALL_SECONDS; waiting for a free process does not count. A limit that is met makes the
answer wrong and says so in `why`, so that a slow grader is seen and is not taken for a weak model.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import threading
from typing import ClassVar

from harness.answers.grade import Grade, answer_of, final_part
from harness.answers.latex import Latex
from harness.answers.pool import Pool, PoolError
from harness.frozen.format import Sample

CPU_SECONDS = 5
WALL_SECONDS = 60
TOO_LONG = "no comparison within the limits of processor time and memory"
INSTALL = "scripts/setup.sh tasks"

_lock = threading.Lock()
_pools: dict[int, Pool] = {}  # by process: a fork must not share pipes with its parent


class Maths(Latex):
    """`target`: one answer in LaTeX, in `\\boxed{}` or not; what stands in the prompt is no answer to it."""

    name: ClassVar[str] = "maths"
    longest: ClassVar[int] = 500

    def strict(self, sample: Sample, answer: str) -> bool:
        return bool(_ask("strict", sample, answer))

    def lenient(self, sample: Sample, completion: str) -> bool:
        return bool(_ask("lenient", sample, final_part(completion)))

    def grade(self, sample: Sample, completion: str) -> Grade:
        answer = answer_of(completion, self.longest)
        right = answer is not None and _ask("strict", sample, answer)
        accepted = right or _ask("lenient", sample, final_part(completion))
        why = TOO_LONG if right is None or accepted is None else None
        return Grade(strict=bool(right), lenient=bool(accepted), answer=answer, why=why)


def _ask(rule: str, sample: Sample, text: str) -> bool | None:
    """None: no verdict within the limits."""
    reply = _pool().ask({"rule": rule, "text": text, "gold": sample.target, "problem": sample.prompt})
    return None if reply is None else bool(reply["right"])


def _pool() -> Pool:
    with _lock:
        if os.getpid() not in _pools:
            if importlib.util.find_spec("math_verify") is None:
                raise PoolError(f"maths answers are compared by math-verify, which is not installed: {INSTALL}")
            pool = Pool("harness.answers.equivalence_worker", os.cpu_count() or 1, CPU_SECONDS, WALL_SECONDS)
            atexit.register(pool.close)
            _pools[os.getpid()] = pool
        return _pools[os.getpid()]
