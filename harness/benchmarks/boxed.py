"""The final answer of a written solution in the style of MATH: what its last `\\boxed` holds."""

from __future__ import annotations

import re

# \fbox stands for \boxed in some solutions of MATH, and in some the braces are missing: `\boxed 2`.
_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*")


def boxed(solution: str) -> str | None:
    """The content of the last box, without surrounding blanks; None if there is none, or it is empty or not closed."""
    boxes = list(_BOX.finditer(solution))
    if not boxes:
        return None
    rest = solution[boxes[-1].end() :]
    if not rest.startswith("{"):
        return re.split(r"[$\n]", rest, maxsplit=1)[0].strip().rstrip(".") or None
    depth = 0
    for sign in re.finditer(r"\\.|[{}]", rest, re.DOTALL):  # `\{` and `\}` are signs, not braces
        depth += {"{": 1, "}": -1}.get(sign[0], 0)
        if depth == 0:
            return rest[1 : sign.start()].strip() or None
    return None
