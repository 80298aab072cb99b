"""A murder after dinner: who, with what, where, when and why? One set of answers fits the clues, and it is proven.

After Temporal Clue (github.com/bradhilton/temporal-clue, MIT): suspects, the victim and weapons move between rooms,
and clues speak of places, movements, meetings and motives. Cast, wording, clues and code are ours. An evening is drawn,
then true clues in random order until a SAT solver finds no other answer to the five questions; then each clue that is
not needed is dropped, from the last to the first. The solver only settles whether another answer exists, and all settle
that alike, so a question is a function of its stream alone. A puzzle takes some thirty small proofs, a clue apart:
MiniSat, which keeps what it has learnt, needs a ninth of the time of OR-tools' CP-SAT, which loads the rules for each.
Tests hold its verdicts against CP-SAT's, and against a search of the printed text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import combinations, pairwise, product
from typing import Any

from harness.errors import NanoR1Error
from harness.frozen.draw import Stream
from harness.frozen.format import Sample

VICTIM = "Lord Ash"
SUSPECTS = ["Ms Amber", "Mr Brown", "Dr Cyan", "Mrs Green", "Miss Indigo", "Sir Olive", "Lady Plum", "Captain Teal"]
WEAPONS = ["axe", "candlestick", "dagger", "pistol", "poison", "rope"]
ROOMS = ["attic", "cellar", "chapel", "gallery", "hall", "kitchen", "library", "parlour", "stable", "study"]
MOTIVES = ["anger", "envy", "fear", "greed", "pride", "revenge"]
TIMES = ["8 pm", "9 pm", "10 pm", "11 pm"]
QUESTIONS = ("murderer", "weapon", "room", "time", "motive")
DIRECTIONS = {"north": (-1, 0), "east": (0, 1), "south": (1, 0), "west": (0, -1)}
CLUES = 40  # drawn before the plain ones

Fact = tuple[str, str, bool]  # a variable, one of its values, and whether it has it
Clue = tuple[str, list[list[Fact]]]  # the sentence, and the ways it can be true: all facts of one of the lists
Evening = dict[str, str]  # each variable's value


class ClueError(NanoR1Error):
    """The solver is not there; the message says what to do."""


class MurderMystery:
    name = "clue"
    # At least: each list of names, rooms, weapons and motives has a puzzle (3 suspects, 2 weapons, 4 rooms alone).
    distinct = 8 * 7 * 6 * (6 * 5) * (10 * 9 * 8 * 7) * (6 * 5 * 4)

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        house = draw_house(stream)
        evening = draw_evening(stream, house)
        clues = [*draw_clues(stream, house, evening, CLUES), *plain_clues(stream, house, evening)]
        proof = Proof(house, evening, clues)
        # The shortest beginning of the list that is enough, by bisection.
        few, many = 0, len(clues)
        core: Collection[int] = range(many)
        while few < many:
            middle = (few + many) // 2
            found = proof.refute(range(middle))
            few, many, core = (middle + 1, many, core) if found is None else (few, max(found, default=-1) + 1, found)
        kept = list(range(many))
        for clue in reversed(range(many)):  # a clue outside the core can go without asking again
            found = proof.refute(other for other in kept if other != clue) if clue in core else core
            if found is not None:
                kept.remove(clue)
                core = found
        told = "\n".join(f"- {clues[index][0]}." for index in kept)
        prompt = f"{house.describe()}\nClues:\n{told}\nAnswer in one line: murderer, weapon, room, time, motive."
        return prompt, ", ".join(evening[question] for question in QUESTIONS), {"clues": len(kept)}

    def accepts(self, sample: Sample, answer: str) -> bool:
        return [part.strip(" ") for part in answer.split(",")] == sample.target.split(", ")

    def attacks(self, sample: Sample) -> list[str]:
        who, what, where, when, why = parts = sample.target.split(", ")
        other = next(name for name in SUSPECTS if name != who)
        return [
            "", ",", ",,,,", who, " ".join(parts), "; ".join(parts), "\n".join(parts), ", ".join(parts[:4]),
            ", ".join(parts[::-1]), f"{sample.target}, {who}", f"{sample.target},", f"{sample.target}.",
            f"{other}, {what}, {where}, {when}, {why}", f"{who} or {other}, {what}, {where}, {when}, {why}",
            f"{VICTIM}, {what}, {where}, {when}, {why}", f"{who}, {what}, {where}, {when}, {why} or fear and greed",
            f"{what}, {who}, {where}, {when}, {why}", f"{who}, , {where}, {when}, {why}",
            f"{who}, {what}, {where}, ?, {why}", f"not {sample.target}", f"I think {sample.target}",
            f"{sample.target}\n", ", ".join(SUSPECTS), ", ".join(WEAPONS), ", ".join(ROOMS),
            f"{sample.target}\u200b", "None", "\x00", "," * 200, sample.prompt[:200],
        ]  # fmt: skip


@dataclass(frozen=True)
class House:
    """Who and what may be where: names as they stand in the prompt, rooms row by row."""

    suspects: list[str]
    weapons: list[str]
    rooms: list[str]
    times: list[str]
    motives: list[str]
    columns: int

    @cached_property
    def people(self) -> list[str]:
        return [*self.suspects, VICTIM]

    @cached_property
    def roles(self) -> dict[str, tuple[str, list[str]]]:
        """Who is meant: the variable that says so, and its values."""
        moved_by = {f"the suspect moved by {motive}": (motive, self.suspects) for motive in self.motives}
        return {**moved_by, "the murderer": ("murderer", self.suspects), "the murder weapon": ("weapon", self.weapons)}

    @cached_property
    def pieces(self) -> list[str]:
        return [*self.people, *self.weapons, *self.roles]

    @cached_property
    def domains(self) -> dict[str, list[str]]:
        """Each variable and its values: the five questions, whose each motive is, and where each piece is when."""
        five = zip(QUESTIONS, (self.suspects, self.weapons, self.rooms, self.times, self.motives), strict=True)
        whose = dict.fromkeys(self.motives, self.suspects)
        return {**dict(five), **whose, **{at(*where): self.rooms for where in product(self.pieces, self.times)}}

    def beside(self, room: str, direction: str) -> str | None:
        down, right = DIRECTIONS[direction]
        row, column = divmod(self.rooms.index(room), self.columns)
        if 0 <= column + right < self.columns and 0 <= row + down < len(self.rooms) // self.columns:
            return self.rooms[(row + down) * self.columns + column + right]
        return None

    def around(self, room: str) -> list[str]:
        """The rooms next to it, and itself."""
        beside = (self.beside(room, direction) for direction in DIRECTIONS)
        return [room, *(other for other in beside if other is not None)]

    def describe(self) -> str:
        rows = [" | ".join(self.rooms[i : i + self.columns]) for i in range(0, len(self.rooms), self.columns)]
        return (
            f"{VICTIM} was murdered. Who did it, with which weapon, in which room, when and why?\n"
            f"Suspects: {', '.join(self.suspects)}.\nWeapons: {', '.join(self.weapons)}.\n"
            f"Motives: {', '.join(self.motives)}; each suspect had one, and no two the same.\n"
            f"Times: {', '.join(self.times)}.\nRooms, north at the top:\n" + "\n".join(rows) + "\n"
            "From each time to the next, everyone stayed in a room or went to the next one north, east, south or west. "
            "A weapon stayed too, or went where a suspect from the same room went. "
            f"The murderer was alone with {VICTIM} and the weapon was in that room; "
            f"{VICTIM} stayed there, dead, at all later times."
        )


def at(piece: str, time: str) -> str:
    """The variable that says in which room a piece is at that time."""
    return f"{piece} at {time}"


# ---------------------------------------------------------------- drawing


def draw_house(stream: Stream) -> House:
    suspects, columns = stream.integer(3, 4), stream.integer(2, 3)
    return House(
        suspects=draw_some(stream, SUSPECTS, suspects),
        weapons=draw_some(stream, WEAPONS, stream.integer(2, 3)),
        rooms=draw_some(stream, ROOMS, 2 * columns),
        times=TIMES[: stream.integer(3, 4)],
        motives=draw_some(stream, MOTIVES, suspects),
        columns=columns,
    )


def draw_some(stream: Stream, items: list[str], number: int) -> list[str]:
    left = list(items)
    return [left.pop(stream.integer(0, len(left) - 1)) for _ in range(number)]


def draw_one(stream: Stream, items: list[str]) -> str:
    return items[stream.integer(0, len(items) - 1)]


def draw_evening(stream: Stream, house: House) -> Evening:
    """Everyone walks at random until somebody could have done it at the time drawn."""
    while True:
        evening = {"time": draw_one(stream, house.times)}
        for person in house.people:
            room = draw_one(stream, house.rooms)
            for time in house.times:
                evening[at(person, time)] = room
                dead = person == VICTIM and house.times.index(time) >= house.times.index(evening["time"])
                room = room if dead else draw_one(stream, house.around(room))
        for weapon in house.weapons:
            room = draw_one(stream, house.rooms)
            for now, then in zip(house.times, [*house.times[1:], None], strict=True):
                evening[at(weapon, now)] = room
                carriers = [person for person in house.suspects if evening[at(person, now)] == room]
                if then and carriers and stream.integer(0, 1):
                    room = evening[at(draw_one(stream, carriers), then)]
        evening["room"] = evening[at(VICTIM, evening["time"])]
        there = [p for p in (*house.suspects, *house.weapons) if evening[at(p, evening["time"])] == evening["room"]]
        alone, weapons = there[:1], there[1:]
        if alone and alone[0] in house.suspects and weapons and weapons[0] in house.weapons:
            break
    evening["murderer"], evening["weapon"] = alone[0], draw_one(stream, weapons)
    evening.update(zip(house.motives, draw_some(stream, house.suspects, len(house.suspects)), strict=True))
    evening["motive"] = next(motive for motive in house.motives if evening[motive] == evening["murderer"])
    for (role, (variable, _)), time in product(house.roles.items(), house.times):
        evening[at(role, time)] = evening[at(evening[variable], time)]
    return evening


def holds(clue: Clue, evening: Evening) -> bool:
    return any(all((evening[variable] == value) is truth for variable, value, truth in way) for way in clue[1])


def draw_clues(stream: Stream, house: House, evening: Evening, number: int) -> Iterator[Clue]:
    """True clues. The kind is drawn first; where an evening has none of it, another kind is drawn."""
    while number:
        kind = stream.integer(0, 7)
        for _ in range(30):
            clue = draw_clue(stream, house, kind)
            if holds(clue, evening):
                number -= 1
                yield clue
                break


def draw_clue(stream: Stream, house: House, kind: int) -> Clue:
    """A clue of that kind, true or not."""
    one, other = draw_some(stream, house.pieces, 2)
    (time, later), room = draw_times(stream, house), draw_one(stream, house.rooms)
    match kind:
        case 0:
            return f"{name(one)} was in the {room} at {time}", [[(at(one, time), room, True)]]
        case 1:
            return f"{name(one)} was not in the {room} at {time}", [[(at(one, time), room, False)]]
        case 2:
            together = [[(at(one, time), r, True), (at(other, time), r, True)] for r in house.rooms]
            return f"{name(one)} was in the same room as {name(other)} at {time}", together
        case 3:
            direction = draw_one(stream, list(DIRECTIONS))
            beside = [(house.beside(r, direction), r) for r in house.rooms]
            ways = [[(at(one, time), there, True), (at(other, time), r, True)] for there, r in beside if there]
            return f"{name(one)} was in the room just {direction} of {name(other)} at {time}", ways
        case 4:
            ways = [[(at(one, t), room, True), (at(other, t), room, True)] for t in house.times]
            return f"{name(one)} and {name(other)} were in the {room} together at least once", ways
        case 5:
            origin = draw_one(stream, house.rooms)
            moved = [(at(one, time), origin, True), (at(one, later), room, True)]
            return f"{name(one)} was in the {origin} at {time} and in the {room} at {later}", [moved]
    second = draw_one(stream, house.rooms)
    a, b = (at(one, time), room, True), (at(other, later), second, True)
    texts = f"{name(one)} was in the {room} at {time}", f"{name(other)} was in the {second} at {later}"
    if kind == 6:
        return " or ".join(texts), [[a], [b]]
    return " if and only if ".join(texts), [[a, b], [(*a[:2], False), (*b[:2], False)]]


def draw_times(stream: Stream, house: House) -> tuple[str, str]:
    """A time and the next."""
    index = stream.integer(0, len(house.times) - 2)
    return house.times[index], house.times[index + 1]


def plain_clues(stream: Stream, house: House, evening: Evening) -> list[Clue]:
    """What the answers are not, one by one and in random order: enough whatever the other clues leave open."""
    sayings = {
        "murderer": "the murderer was not {}",
        "weapon": "the murder weapon was not the {}",
        "room": "the murder was not in the {}",
        "time": "the murder was not at {}",
        "motive": "the motive of the murder was not {}",
    }
    clues = [
        (sayings[question].format(value), [[(question, value, False)]])
        for question in QUESTIONS
        for value in house.domains[question]
        if value != evening[question]
    ]
    return [clues.pop(stream.integer(0, len(clues) - 1)) for _ in range(len(clues))]


def name(piece: str) -> str:
    return f"the {piece}" if piece in WEAPONS else piece


# ---------------------------------------------------------------- proving


class Proof:
    """A house's rules as clauses, with clues that can be switched on and the evening's answers ruled out.

    As in DIMACS a literal is a number from 1 on, minus it is its opposite, and one of each clause must be true.
    """

    def __init__(self, house: House, evening: Evening, clues: list[Clue]) -> None:
        try:  # imported here: the core install has no solver, and no other task wants it
            solvers: Any = import_module("pysat.solvers")
        except ImportError:
            message = "task clue draws its puzzles with PySAT: scripts/setup.sh tasks"
            raise ClueError(message) from None
        self.clauses: list[list[int]] = []
        self.last = 0
        self.literals = {
            (variable, value): self.new() for variable, values in house.domains.items() for value in values
        }
        for variable, values in house.domains.items():
            self.exactly_one([self.literals[variable, value] for value in values])
        self.add_rules(house)
        self.clauses.append([-self.literals[question, evening[question]] for question in QUESTIONS])
        self.switches = [self.switch(clue) for clue in clues]
        self.numbers = {switch: number for number, switch in enumerate(self.switches)}
        self.solver = solvers.Solver(name="minisat22", bootstrap_with=self.clauses)

    def refute(self, clues: Iterable[int]) -> Collection[int] | None:
        """Some of these clues that leave no other answers to the five questions, or None if all of them leave one."""
        # Without limits, so always decided. Plain solve() would put its own handler in the place of Ctrl-C's.
        if self.solver.solve_limited([self.switches[index] for index in clues], expect_interrupt=True):
            return None
        return {self.numbers[switch] for switch in self.solver.get_core() or []}

    def new(self) -> int:
        self.last += 1
        return self.last

    def switch(self, clue: Clue) -> int:
        """A literal that makes the clue true."""
        ways = [
            self.both(self.literals[variable, value] * (1 if truth else -1) for variable, value, truth in way)
            for way in clue[1]
        ]
        switch = self.new()
        self.clauses.append([-switch, *ways])
        return switch

    def both(self, literals: Iterable[int]) -> int:
        """A literal that makes all of these true."""
        both = self.new()
        self.clauses += [[-both, literal] for literal in literals]
        return both

    def exactly_one(self, literals: list[int]) -> None:
        self.clauses += [literals, *([-one, -other] for one, other in combinations(literals, 2))]

    def implies(self, facts: list[tuple[str, str]], any_of: list[int]) -> None:
        self.clauses.append([*(-self.literals[fact] for fact in facts), *any_of])

    def add_rules(self, house: House) -> None:
        is_, steps = self.literals, [*pairwise(house.times)]
        for suspect in house.suspects:
            self.exactly_one([is_[motive, suspect] for motive in house.motives])
            for motive in house.motives:
                self.implies([("murderer", suspect), (motive, suspect)], [is_["motive", motive]])
        for person, (now, then), room in product(house.people, steps, house.rooms):
            self.implies([(at(person, now), room)], [is_[at(person, then), other] for other in house.around(room)])
        # A weapon goes no farther than a suspect, and only together with one.
        for weapon, (now, then), room in product(house.weapons, steps, house.rooms):
            self.implies([(at(weapon, now), room)], [is_[at(weapon, then), other] for other in house.around(room)])
        for (now, then), room in product(steps, house.rooms):
            for other in house.around(room)[1:]:
                carried = [self.both((is_[at(s, now), room], is_[at(s, then), other])) for s in house.suspects]
                for weapon in house.weapons:
                    self.implies([(at(weapon, now), room), (at(weapon, then), other)], carried)
        for (index, time), room in product(enumerate(house.times), house.rooms):
            crime = [("time", time), ("room", room)]
            for later in house.times[index:]:
                self.implies(crime, [is_[at(VICTIM, later), room]])
            for suspect in house.suspects:
                self.implies([*crime, ("murderer", suspect)], [is_[at(suspect, time), room]])
                self.implies([*crime, (at(suspect, time), room)], [is_["murderer", suspect]])  # alone
            for weapon in house.weapons:
                self.implies([*crime, ("weapon", weapon)], [is_[at(weapon, time), room]])
        for (role, (variable, values)), time, room in product(house.roles.items(), house.times, house.rooms):
            for value in values:
                self.implies([(variable, value), (at(value, time), room)], [is_[at(role, time), room]])
