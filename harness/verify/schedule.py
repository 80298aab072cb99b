"""Which run comes when: rounds of the frozen baseline and every submission, the control runs among them; their keys."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.frozen.keys import control_round, derive, seed_of
from harness.tracks.track import Track
from harness.verify.journal import RunResult, SessionSubmission


@dataclass
class Participant:
    """One submission of a session (number 0 is the reference) and the results of its runs, the control run last."""

    number: int
    name: str
    tree_sha256: str
    for_record: bool  # ends in a record or an abandonment: its runs are evaluated, and it makes a control run
    results: dict[int, RunResult] = field(default_factory=dict)
    failure: str | None = None  # why there will be no record


Turn = tuple[Participant, int]  # whose turn, and which of its runs


@dataclass(frozen=True)
class RunSpec:
    """One run, with its own keys only: neither the root nor another run's keys follow from them."""

    name: str
    run: int
    evaluated: bool
    seed: int
    train: bytes
    heldout: bytes
    control: bytes | None  # of the scores, in a control run

    @property
    def label(self) -> str:
        return f"run {self.run + 1}" if self.control is None else "control run"


@dataclass(frozen=True)
class Schedule:
    """The runs of a session: who makes them, in what order, from which root."""

    track: Track
    participants: list[Participant]
    runs: int  # of each participant, the control run aside
    root: bytes
    control: bool  # does each submission make a control run?

    @property
    def reference(self) -> Participant:
        return self.participants[0]

    def rounds(self) -> list[list[Turn]]:
        """In each round every participant once, the order rotated so that none always follows the same other.

        With control runs there is one round more, and each submission's control run takes the round that follows from
        the root: the same places before and after it as any other, so nothing outside tells it from them. A reference
        that gets no record has no control run and rests in that round.
        """
        count = len(self.participants)
        orders = [
            [self.participants[(number + turn) % count] for turn in range(count)]
            for number in range(self.runs + self.control)
        ]
        return [
            [(item, run) for item in order if (run := self._run_in_round(item, number)) is not None]
            for number, order in enumerate(orders)
        ]

    def _run_in_round(self, participant: Participant, number: int) -> int | None:
        """Which run a participant makes in this round; None if it rests."""
        if not self.control:
            return number
        control = control_round(self.root, participant.tree_sha256, self.runs + 1)
        if number == control:
            return self.runs if participant.for_record else None
        return number - (number > control)

    def spec(self, participant: Participant, run: int) -> RunSpec:
        """What follows from the root for this run. Number `runs` is the control run."""
        root, tree = self.root, participant.tree_sha256
        return RunSpec(
            name=participant.name,
            run=run,
            evaluated=participant.for_record,
            seed=seed_of(root, tree, run),
            train=derive(root, "train", tree, run),
            heldout=derive(root, "heldout", tree, run),
            control=derive(root, "control", tree, run) if run == self.runs else None,
        )

    def is_due(self, participant: Participant) -> bool:
        """Could another run of this participant still lead to a record?"""
        return participant.failure is None and any(
            other.for_record and other.failure is None for other in self.participants
        )

    def add_result(self, participant: Participant, run: int, result: RunResult) -> None:
        """Where the reference has failed there is nothing left to compare with, so all the others fail too."""
        participant.results[run] = result
        participant.failure = participant.failure or result.failure
        if self.reference.failure is not None:
            for other in self.participants[1:]:
                other.failure = other.failure or f"the frozen baseline failed: {self.reference.failure}"


def participants_of(submissions: list[SessionSubmission]) -> list[Participant]:
    """The participants of a session before any run is made; the first submission is the reference."""
    return [
        Participant(number, item.name, item.tree_sha256, item.for_record) for number, item in enumerate(submissions)
    ]
