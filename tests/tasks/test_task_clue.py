"""The murders of task clue, proven again by another solver, and solved from their text alone by a search."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pytest
from task_helpers import completion

from harness.frozen.draw import sample
from harness.frozen.format import Sample, score
from harness.tasks.clue import SUSPECTS, Clue, ClueError, Evening, House, MurderMystery, Proof

PYSAT = pytest.mark.skipif(find_spec("pysat") is None, reason="PySAT is not installed (extra `tasks`)")

Walk = tuple[str, ...]  # a room for each time
Check = Callable[..., bool]  # of the walks of the pieces named


@pytest.fixture(scope="module")
def puzzles() -> list[Sample]:
    return [sample(MurderMystery(), b"clue", split, i) for split in ("train", "heldout") for i in range(3)]


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

Link = tuple[str, str, list[int], list[int]]  # two pieces; for each walk of the one the walks that the other may take


class Search:
    """All walks through the house are numbered, and a set of walks is an integer with a bit for each."""

    def __init__(self, case: Case) -> None:
        self.case, self.walks = case, list(case.walks())
        self.at = {
            (t, room): self.those(lambda walk, t=t, room=room: walk[t] == room)
            for t in range(len(case.times))
            for room in case.rooms
        }
        self.still = self.those(lambda walk: len(set(walk)) == 1)
        self.denied = {clue for clue in case.clues if check_of(case, clue) is None}
        self.unary: list[tuple[str, int]] = []
        self.links: list[Link] = []
        for pieces, check in (found for clue in case.clues if (found := check_of(case, clue))):
            if len(pieces) == 1:
                self.unary.append((pieces[0], self.those(check)))
            else:
                forward = [self.those(lambda y, x=x: check(x, y)) for x in self.walks]  # noqa: B023
                backward = [self.those(lambda x, y=y: check(x, y)) for y in self.walks]  # noqa: B023
                self.links.append((pieces[0], pieces[1], forward, backward))

    def those(self, check: Check) -> int:
        return sum(1 << i for i, walk in enumerate(self.walks) if check(walk))

    def answers(self) -> Iterator[str]:
        """Every answer that some evening fits."""
        case = self.case
        five = itertools.product(case.suspects, case.weapons, case.rooms, range(len(case.times)), case.motives)
        for who, what, room, t, why in five:
            sayings = {
                f"the murderer was not {who}", f"the murder weapon was not the {what}",
                f"the murder was not in the {room}", f"the murder was not at {case.times[t]}",
                f"the motive of the murder was not {why}",
            }  # fmt: skip
            whose = [dict(zip(owners, case.motives, strict=True)) for owners in itertools.permutations(case.suspects)]
            if sayings.isdisjoint(self.denied) and any(
                self.fits(who, what, room, t, owners) for owners in whose if owners[who] == why
            ):
                yield f"{who}, {what}, {room}, {case.times[t]}, {why}"

    def fits(self, who: str, what: str, room: str, t: int, motives: dict[str, str]) -> bool:
        case, everywhere = self.case, (1 << len(self.walks)) - 1
        roles = {f"the suspect moved by {motive}": owner for owner, motive in motives.items()}
        roles |= {
            "the murderer": who,
            "the murder weapon": what,
            **{f"the {weapon}": weapon for weapon in case.weapons},
        }
        left = dict.fromkeys([*case.suspects, "Lord Ash", *case.weapons], everywhere)
        for suspect in case.suspects:
            left[suspect] &= self.at[t, room] if suspect == who else ~self.at[t, room]
        left[what] &= self.at[t, room]
        for later in range(t, len(case.times)):
            left["Lord Ash"] &= self.at[later, room]
        for piece, those in self.unary:
            left[roles.get(piece, piece)] &= those
        links: list[Link] = []
        for one, other, forward, backward in self.links:
            a, b = roles.get(one, one), roles.get(other, other)
            if a == b:
                left[a] &= sum(1 << i for i, those in enumerate(forward) if those >> i & 1)
            else:
                links.append((a, b, forward, backward))
        return self.possible(left, links, case.weapons, [])

    def possible(self, left: dict[str, int], links: list[Link], weapons: list[str], moves: list[int]) -> bool:
        """Is there a walk for each piece? `weapons` have none yet; somebody must go each of the `moves`, too."""
        if not all(left.values()):
            return False
        if moves:
            ways = ({**left, suspect: left[suspect] & moves[0]} for suspect in self.case.suspects)
            return any(self.possible(way, links, weapons, moves[1:]) for way in ways)
        # A piece that no clue links to another walks as it likes, and a weapon that may lie still does.
        due = {piece for link in links for piece in link[:2]} | {w for w in weapons if not left[w] & self.still}
        if not due:
            return True
        piece = min(due, key=lambda piece: (left[piece].bit_count(), piece))
        for i, walk in enumerate(self.walks):
            if left[piece] >> i & 1:
                now, others = {**left, piece: 1 << i}, []
                for link in links:
                    if link[0] == piece:
                        now[link[1]] &= link[2][i]
                    elif link[1] == piece:
                        now[link[0]] &= link[3][i]
                    else:
                        others.append(link)
                steps = enumerate(itertools.pairwise(walk)) if piece in weapons else []
                carried = [self.at[t, here] & self.at[t + 1, there] for t, (here, there) in steps if here != there]
                if self.possible(now, others, [w for w in weapons if w != piece], carried):
                    return True
        return False


@PYSAT
@pytest.mark.slow
@pytest.mark.sweep("clue")
def test_a_puzzle_has_one_answer_and_it_is_the_gold_one(puzzles: list[Sample]) -> None:
    for one in puzzles:
        assert set(Search(read(one.prompt)).answers()) == {one.target}


@PYSAT
@pytest.mark.slow
@pytest.mark.sweep("clue")
def test_no_clue_is_too_many(puzzles: list[Sample]) -> None:
    one = min(puzzles, key=lambda one: len(one.prompt))
    case = read(one.prompt)
    assert len(case.clues) == one.metadata["clues"]
    for i in range(len(case.clues)):
        without = Case(
            case.suspects, case.weapons, case.motives, case.times, case.rows, case.clues[:i] + case.clues[i + 1 :]
        )
        assert any(answer != one.target for answer in Search(without).answers())


# ---------------------------------------------------------------- the proofs, by CP-SAT


def others(proof: Proof, clues: Iterable[int]) -> bool:
    """Do these clues leave another answer? By OR-tools, which shares the clauses with MiniSat and nothing else."""
    cp = pytest.importorskip("ortools.sat.python.cp_model")
    model = cp.CpModel()
    is_true = {sign * i: var for i in range(1, proof.last + 1) for sign, var in signed(model.new_bool_var(""))}
    for clause in [*proof.clauses, *([proof.switches[clue]] for clue in clues)]:
        model.add_bool_or([is_true[literal] for literal in clause])
    solver = cp.CpSolver()
    solver.parameters.num_workers = 1
    status = solver.solve(model)
    assert status in (cp.OPTIMAL, cp.FEASIBLE, cp.INFEASIBLE)
    return bool(status != cp.INFEASIBLE)


def signed(var: Any) -> list[tuple[int, Any]]:
    return [(1, var), (-1, ~var)]


@PYSAT
@pytest.mark.sweep("clue")
def test_cp_sat_finds_the_same_one_answer_and_no_clue_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Proof, list[str]]] = []

    def remember(self: Proof, house: House, evening: Evening, clues: list[Clue]) -> None:
        begin(self, house, evening, clues)
        drawn.append((self, [sentence for sentence, _ in clues]))

    begin = Proof.__init__
    monkeypatch.setattr(Proof, "__init__", remember)
    for index in range(5):
        one = sample(MurderMystery(), b"CP-SAT", "train", index)
        proof, sentences = drawn[-1]
        kept = [sentences.index(told) for told in read(one.prompt).clues]
        assert len(kept) == one.metadata["clues"]
        assert not others(proof, kept)
        for clue in kept:
            assert others(proof, [other for other in kept if other != clue])


# ---------------------------------------------------------------- the grader, and a machine without PySAT

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
    assert score(MurderMystery(), Sample("", "", GOLD, {}), completion(answer)).correct is right


def test_without_pysat_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysat.solvers", None)
    with pytest.raises(ClueError, match=r"PySAT: scripts/setup.sh tasks"):
        sample(MurderMystery(), b"key", "train", 0)


@PYSAT
def test_ctrl_c_gets_through_while_it_solves() -> None:
    """PySAT's plain solve() would raise an error of its own instead, from a jump out of the C code."""
    knocks = []
    before = signal.signal(signal.SIGINT, lambda *_: knocks.append(1))
    knock = "while kill -INT $0; do sleep 0.001; done"  # a thread of ours would wait while it solves
    knocker = subprocess.Popen(["sh", "-c", knock, str(os.getpid())])
    try:
        for index in range(50):
            sample(MurderMystery(), b"key", "train", index)
    finally:
        knocker.kill()
        knocker.wait()
        signal.signal(signal.SIGINT, before)
    assert len(knocks) > 50


def test_an_answer_never_needs_quoting() -> None:
    assert not any("," in suspect for suspect in SUSPECTS)
