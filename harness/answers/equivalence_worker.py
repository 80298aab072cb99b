"""The process that compares maths answers: one question per line, one answer per line (pool.py starts and ends it).

strict    equivalence.same_answer
lenient   math-verify with its defaults on what follows the thought
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time

from harness.answers.equivalence import math_verify, parse, same_answer

MEMORY_BYTES = 2 << 30  # of address space


def accepted_in_text(completion: str, gold: str) -> bool:
    """By math-verify with its defaults, boxed expressions first."""
    library = math_verify()
    expected = library.parse(f"${gold}$", parsing_timeout=None)
    rules = [library.LatexExtractionConfig(boxed_match_priority=0), library.ExprExtractionConfig()]
    parsed = library.parse(completion, extraction_config=rules, parsing_timeout=None)
    return bool(expected and parsed and library.verify(expected, parsed, timeout_seconds=None))


def serve() -> None:
    """Answer questions, a JSON object a line, until the pipe closes. A question sets its own limit first."""
    answers = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):  # nothing that a library prints is an answer
        os.dup2(null, stream)
    parse(("1",))  # imports sympy, compiles patterns: not on the first question's clock
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    answers.write(b"ready\n")
    answers.flush()
    for line in sys.stdin.buffer:
        question = json.loads(line)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + question["cpu_seconds"], hard))
        try:
            if question["rule"] == "strict":
                right = same_answer(question["text"], question["gold"], question["problem"])
            else:
                right = accepted_in_text(question["text"], question["gold"])
        except MemoryError:  # perhaps not this question's fault: a fresh process will see
            os._exit(1)
        except Exception:  # of any kind: sympy's are without number
            right = False
        answers.write(json.dumps({"right": bool(right)}).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    serve()
