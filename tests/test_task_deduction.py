"""The murders of task deduction, solved again from their text alone by a search that knows neither CP-SAT nor the task."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import pytest

from harness.tasks import Sample, sample, score
from harness.tasks.deduction import SUSPECTS, Deduction, DeductionError

ortools = pytest.mark.skipif(find_spec("ortools") is None, reason="OR-tools is not installed (extra `tasks`)")

Walk = tuple[str, ...]  # a room for each time
Check = Callable[..., bool]  # of the walks of the pieces named


def completion(answer: str) -> str:
    return f"<think></think><answer>{answer}</answer>"


@pytest.fixture(scope="module")
def puzzles() -> list[Sample]:
    return [sample(Deduction(), b"deduction", split, i) for split in ("train", "heldout") for i in range(3)]


# ---------------------------------------------------------------- the prompt, read


@dataclass
class Case:
    suspects: list[str]
    weapons: list[str]
    motives: list[str]
    times: list[str]
    rows: list[list[str]]
    clues: list[str]

    @property
    def rooms(self) -> list[str]:
        return [room for row in self.rows for room in row]

    def place(self, room: str) -> tuple[int, int]:
        return next((i, row.index(room)) for i, row in enumerate(self.rows) if room in row)

    def walks(self) -> Iterator[Walk]:
        """All that a person can do."""
        for walk in itertools.product(self.rooms, repeat=len(self.times)):
            spots = [self.place(room) for room in walk]
            if all(abs(a - c) + abs(b - d) <= 1 for (a, b), (c, d) in itertools.pairwise(spots)):
                yield walk


def read(prompt: str) -> Case:
    def listed(head: str) -> list[str]:
        return re.search(rf"^{head}: (.+?)[.;]", prompt, re.MULTILINE)[1].split(", ")  # type: ignore[index]

    rows = [row.split(" | ") for row in re.findall(r"^\w+(?: \| \w+)+$", prompt, re.MULTILINE)]
    clues = re.findall(r"^- (.+)\.$", prompt, re.MULTILINE)
    return Case(*(listed(head) for head in ("Suspects", "Weapons", "Motives", "Times")), rows, clues)  # type: ignore[call-arg]


def check_of(case: Case, clue: str) -> tuple[list[str], Check] | None:
    """(The pieces spoken of, whether their walks agree with the clue), or None for a clue about the answers."""
    was_in = r"(.+) was in the (\w+) at (\d+ pm)"
    if match := re.fullmatch(rf"{was_in} (or|if and only if) {was_in}", clue):
        a, room, time, how, b, other, later = match.groups()
        t, u = case.times.index(time), case.times.index(later)
        if how == "or":
            return [a, b], lambda x, y: x[t] == room or y[u] == other
        return [a, b], lambda x, y: (x[t] == room) == (y[u] == other)
    if match := re.fullmatch(r"(.+) was in the same room as (.+) at (\d+ pm)", clue):
        t = case.times.index(match[3])
        return [match[1], match[2]], lambda x, y: x[t] == y[t]
    if match := re.fullmatch(r"(.+) was in the room just (\w+) of (.+) at (\d+ pm)", clue):
        t = case.times.index(match[4])
        down, right = {"north": (-1, 0), "south": (1, 0), "east": (0, 1), "west": (0, -1)}[match[2]]

        def beside(x: Walk, y: Walk) -> bool:
            (a, b), (c, d) = case.place(x[t]), case.place(y[t])
            return (a, b) == (c + down, d + right)

        return [match[1], match[3]], beside
    if match := re.fullmatch(r"(.+) and (.+) were in the (\w+) together at least once", clue):
        return [match[1], match[2]], lambda x, y: any(r == s == match[3] for r, s in zip(x, y, strict=True))
    if match := re.fullmatch(rf"{was_in} and in the (\w+) at (\d+ pm)", clue):
        a, room, time, other, later = match.groups()
        t, u = case.times.index(time), case.times.index(later)
        return [a], lambda x: x[t] == room and x[u] == other
    if match := re.fullmatch(r"(.+) was (not )?in the (\w+) at (\d+ pm)", clue):
        t = case.times.index(match[4])
        return [match[1]], lambda x: (x[t] == match[3]) is (match[2] is None)
    assert re.fullmatch(r"the (murderer|murder weapon|murder|motive of the murder) was not .+", clue), clue
    return None


# ---------------------------------------------------------------- all answers that fit


def answers(case: Case) -> Iterator[str]:
    """Every answer that some evening fits: for each choice of roles a search over the pieces' walks."""
    every = list(case.walks())
    checks = [check for clue in case.clues if (check := check_of(case, clue))]
    denied = [clue for clue in case.clues if check_of(case, clue) is None]
    rooms_and_times = list(itertools.product(case.rooms, range(len(case.times))))
    for owners in itertools.permutations(case.suspects):
        whose = {f"the suspect moved by {motive}": owner for motive, owner in zip(case.motives, owners, strict=True)}
        for who, what, (room, t) in itertools.product(case.suspects, case.weapons, rooms_and_times):
            why = case.motives[owners.index(who)]
            sayings = {
                f"the murderer was not {who}", f"the murder weapon was not the {what}", f"the murder was not in the {room}",
                f"the murder was not at {case.times[t]}", f"the motive of the murder was not {why}",
            }  # fmt: skip
            if not sayings.isdisjoint(denied):
                continue
            roles = {**whose, "the murderer": who, "the murder weapon": what, **{f"the {w}": w for w in case.weapons}}
            named = [([roles.get(piece, piece) for piece in pieces], check) for pieces, check in checks]
            domains: dict[str, list[Walk]] = {}
            for suspect in case.suspects:
                domains[suspect] = [walk for walk in every if (walk[t] == room) is (suspect == who)]
            domains["Lord Ash"] = [walk for walk in every if set(walk[t:]) == {room}]
            for weapon in case.weapons:
                paths = itertools.product(case.rooms, repeat=len(case.times))
                domains[weapon] = [path for path in paths if weapon != what or path[t] == room]
            if fits(domains, named, case):
                yield f"{who}, {what}, {room}, {case.times[t]}, {why}"


def fits(domains: dict[str, list[Walk]], checks: list[tuple[list[str], Check]], case: Case) -> bool:
    """Can each piece be given a walk? People first, then weapons, which must be carried."""
    for pieces, check in checks:
        if len(set(pieces)) == 1:
            domains[pieces[0]] = [walk for walk in domains[pieces[0]] if check(*[walk] * len(pieces))]
    order = sorted(domains, key=lambda piece: (piece in case.weapons, len(domains[piece])))

    def carried(path: Walk, given: dict[str, Walk]) -> bool:
        return all(
            path[i] == path[i + 1] or any(given[s][i : i + 2] == path[i : i + 2] for s in case.suspects)
            for i in range(len(path) - 1)
        )

    def search(depth: int, given: dict[str, Walk]) -> bool:
        if depth == len(order):
            return True
        piece = order[depth]
        known = {*given, piece}
        due = [(pieces, check) for pieces, check in checks if piece in pieces and known.issuperset(pieces)]
        for walk in domains[piece]:
            now = {**given, piece: walk}
            if all(check(*(now[p] for p in pieces)) for pieces, check in due):
                if piece in case.weapons and not carried(walk, given):
                    continue
                if search(depth + 1, now):
                    return True
        return False

    return all(domains.values()) and search(0, {})


@ortools
@pytest.mark.slow
def test_a_puzzle_has_one_answer_and_it_is_the_gold_one(puzzles: list[Sample]) -> None:
    for one in puzzles:
        assert set(answers(read(one.prompt))) == {one.target}


@ortools
@pytest.mark.slow
def test_no_clue_is_too_many(puzzles: list[Sample]) -> None:
    one = min(puzzles, key=lambda one: len(one.prompt))
    case = read(one.prompt)
    assert len(case.clues) == one.metadata["clues"]
    for i in range(len(case.clues)):
        without = Case(case.suspects, case.weapons, case.motives, case.times, case.rows, case.clues[:i] + case.clues[i + 1 :])
        assert any(answer != one.target for answer in answers(without))


# ---------------------------------------------------------------- the grader, and a machine without OR-tools

GOLD = "Ms Amber, axe, hall, 9 pm, greed"


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (GOLD, True), (GOLD.replace(", ", ","), True), (GOLD.replace(", ", " , "), True), (f" {GOLD} ", True),
        (GOLD.lower(), False), (GOLD.replace("axe", "the axe"), False), (GOLD.replace("9 pm", "9pm"), False),
        ("axe, Ms Amber, hall, 9 pm, greed", False), (GOLD + ", greed", False), (GOLD[:-7], False), ("", False),
        (GOLD.replace("greed", "envy"), False), (GOLD.replace(", ", "\n"), False),
    ],
)  # fmt: skip
def test_all_five_in_order(answer: str, right: bool) -> None:
    assert score(Deduction(), Sample("", "", GOLD, {}), completion(answer)).correct is right


def test_without_ortools_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools", None)
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    with pytest.raises(DeductionError, match=r"OR-tools: pip install .* '\.\[tasks\]'"):
        sample(Deduction(), b"key", "train", 0)


def test_an_answer_never_needs_quoting() -> None:
    assert not any("," in suspect for suspect in SUSPECTS)
