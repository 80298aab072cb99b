"""The scores of a control run: they say nothing."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from harness.frozen.format import Sample, Score


class Control:
    """Draws with the frequency that real successes have had so far, task by task.

    Drawn, not shuffled, so a trainer that asks for one score at a time sees nothing else than one that asks for
    a thousand; and from what came *before* a completion, so its own truth has no part in its score. Asked again,
    the same completion gets the same score, as from the real grader, and counts once. Format is told truly: it is no
    secret of the harness, and a score that called garbage well-formed would give the control run away.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._seen: dict[str, list[int]] = {}  # by task: [well-formed completions, right ones]
        self._told: dict[bytes, bool] = {}

    def score(self, item: Sample, token_ids: Sequence[int], real: Score) -> Score:
        if not real.formatted:
            return real
        which = hashlib.sha256(f"{item.id} {' '.join(map(str, token_ids))}".encode()).digest()[:16]
        if which not in self._told:
            seen = self._seen.setdefault(item.task, [0, 0])
            draw = int.from_bytes(hmac.digest(self._key, which, "sha256")[:8], "big") / 2**64
            self._told[which] = draw < (seen[1] + 1) / (seen[0] + 4)  # one in four before anything is known
            seen[0] += 1
            seen[1] += real.correct
        return Score(correct=self._told[which], formatted=True, answer=real.answer)
