"""Maths answers in LaTeX: MATH, AIME, OpenR1-Math.

What is equal to what is in equivalence.py, which runs in a pool of processes that can be killed (pool.py).

Worst case: strict and lenient each take at most CPU_SECONDS + 1 s of processor time, twice if the process had been used
before, and never more than twice WALL_SECONDS; waiting for a free process does not count. A limit that is met makes the
answer wrong and says so in `why`, so that a slow grader is seen and is not taken for a weak model.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import threading

from harness.answers.grade import Grade, answer_of, final_part
from harness.answers.pool import Pool, PoolError

CPU_SECONDS = 5
WALL_SECONDS = 60
LONGEST_ANSWER = 500  # characters
TOO_LONG = "no comparison within the limits of processor time and memory"
INSTALL = "pip install -e '.[tasks]'"

_lock = threading.Lock()
_pools: dict[int, Pool] = {}  # by process: a fork must not share pipes with its parent


def strict(answer: str, gold: str, problem: str = "") -> bool:
    """Is this the gold answer, in a form that leaves nothing to compute and is not the problem's own text?"""
    return len(answer) <= LONGEST_ANSWER and bool(_ask("strict", answer, gold, problem))


def grade(completion: str, gold: str, problem: str = "") -> Grade:
    """`gold` is one answer in LaTeX, in `\\boxed{}` or not; `problem` is what the model was asked. Raises PoolError."""
    answer = answer_of(completion, LONGEST_ANSWER)
    right = answer is not None and _ask("strict", answer, gold, problem)
    accepted = right or _ask("lenient", final_part(completion), gold, problem)
    why = TOO_LONG if right is None or accepted is None else None
    return Grade(strict=bool(right), lenient=bool(accepted), answer=answer, why=why)


def _ask(how: str, text: str, gold: str, problem: str) -> bool | None:
    """None: no verdict within the limits."""
    reply = _pool().ask({"how": how, "text": text, "gold": gold, "problem": problem})
    return None if reply is None else bool(reply["right"])


def _pool() -> Pool:
    with _lock:
        if os.getpid() not in _pools:
            if importlib.util.find_spec("math_verify") is None:
                raise PoolError(f"maths answers are compared by math-verify, which is not installed: {INSTALL}")
            pool = Pool("harness.answers.equivalence", os.cpu_count() or 1, CPU_SECONDS, WALL_SECONDS)
            atexit.register(pool.close)
            _pools[os.getpid()] = pool
        return _pools[os.getpid()]
