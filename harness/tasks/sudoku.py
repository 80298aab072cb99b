"""Sudoku, 9 by 9: fill in the empty cells. Every puzzle drawn has exactly one solution, which the solver proves.

A full grid is drawn by the solver itself, trying digits in random order; then cells are emptied in random order, each
only if no other digit fits there. The prompt shows rows of digits with 0 for an empty cell, and the answer is all
digits, row by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from harness.frozen.draw import Stream
from harness.frozen.format import Sample

Grid = list[int]  # row by row, 0 is empty


class Sudoku:
    name = "sudoku"
    # At least: full grids (Felgenhauer & Jarvis 2005). Each can be drawn, and two grids never share a puzzle.
    distinct = 6_670_903_752_021_072_936_960
    box = 3  # cells along the side of a box
    clues = (30, 40)

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        size, cells = self.box**2, self.box**4
        full = next(solutions([0] * cells, self.box, stream))
        puzzle, left, aim = full.copy(), cells, stream.integer(*self.clues)
        for cell in _shuffled(list(range(cells)), stream):
            if left == aim:
                break
            # The puzzle so far has one solution, so a second one has another digit in this cell.
            others = candidates(puzzle, self.box, cell) - {full[cell]}
            if not any(solvable([*puzzle[:cell], other, *puzzle[cell + 1 :]], self.box) for other in others):
                puzzle[cell], left = 0, left - 1
        rows = "\n".join("".join(map(str, puzzle[i : i + size])) for i in range(0, cells, size))
        prompt = (
            f"Fill in this sudoku. Each row, column and {self.box}x{self.box} box has the digits 1 to {size}; "
            f"0 is an empty cell.\n{rows}\nAnswer with all {cells} digits, row by row."
        )
        return prompt, "".join(map(str, full)), {"puzzle": "".join(map(str, puzzle))}

    def accepts(self, sample: Sample, answer: str) -> bool:
        return answer == sample.target

    def attacks(self, sample: Sample) -> list[str]:
        target, puzzle, size = sample.target, sample.metadata["puzzle"], self.box**2
        relabelled = "".join(str(int(digit) % size + 1) for digit in target)  # a sudoku, but another one's solution
        hole = puzzle.index("0")
        digits = "".join(str(digit) for digit in range(1, size + 1))
        return [
            "", "0", puzzle, puzzle.replace("0", "1"), puzzle.replace("0", "."), relabelled, digits * size,
            target[:hole] + relabelled[hole] + target[hole + 1 :], target[:hole] + "0" + target[hole + 1 :],
            target[:-1], target + target[-1], target + target[0], target * 2, f"0{target}", f"+{target}", f"-{target}",
            f"{target}.", f"{target} or {relabelled}", f"[{target}]", "1" * len(target), "9" * 200, "?" * len(target),
            target.translate({ord("0") + digit: 0x660 + digit for digit in range(10)}), f"{target}\u200b",
            f"{target}\n", sample.prompt[:200], "None", "nan", "\x00",
        ]  # fmt: skip


@cache
def units_of(box: int) -> list[tuple[int, int, int]]:
    """For each cell its row, its column and its box, all units numbered through."""
    size = box * box
    return [(c // size, size + c % size, 2 * size + c // size // box * box + c % size // box) for c in range(size**2)]


@cache
def peers_of(box: int) -> list[list[int]]:
    """For each cell the others in its row, column or box."""
    units = [set(each) for each in units_of(box)]
    return [[p for p, u in enumerate(units) if p != c and not u.isdisjoint(units[c])] for c in range(len(units))]


def candidates(puzzle: Grid, box: int, cell: int) -> set[int]:
    """Digits that no peer of the cell has."""
    return set(range(1, box * box + 1)) - {puzzle[peer] for peer in peers_of(box)[cell]}


def solvable(puzzle: Grid, box: int) -> bool:
    return next(solutions(puzzle, box), None) is not None


def solutions(puzzle: Grid, box: int, stream: Stream | None = None) -> Iterator[Grid]:
    """Each way to fill the empty cells; `stream` shuffles the digits tried. The cell with the fewest goes first."""
    size, units = box * box, units_of(box)
    grid, empty = puzzle.copy(), [cell for cell, digit in enumerate(puzzle) if not digit]
    free = [(2 << size) - 2] * (3 * size)  # of each row, column and box: bit d says that digit d is missing
    for cell, digit in enumerate(puzzle):
        if digit:
            for unit in units[cell]:
                if not free[unit] >> digit & 1:
                    return  # the digit twice in a unit
                free[unit] ^= 1 << digit

    def search() -> Iterator[Grid]:
        fewest, index, options = size + 1, -1, 0
        for i, cell in enumerate(empty):
            row, column, square = units[cell]
            digits_left = free[row] & free[column] & free[square]
            if digits_left.bit_count() < fewest:
                fewest, index, options = digits_left.bit_count(), i, digits_left
                if fewest < 2:
                    break
        if index < 0:
            yield grid.copy()
            return
        cell = empty.pop(index)
        digits = [digit for digit in range(1, size + 1) if options >> digit & 1]
        for digit in _shuffled(digits, stream) if stream is not None else digits:
            grid[cell] = digit
            for unit in units[cell]:
                free[unit] ^= 1 << digit
            yield from search()
            for unit in units[cell]:
                free[unit] ^= 1 << digit
        empty.insert(index, cell)

    yield from search()


def _shuffled(items: list[int], stream: Stream) -> list[int]:
    """Fisher–Yates."""
    for i in range(len(items) - 1, 0, -1):
        j = stream.integer(0, i)
        items[i], items[j] = items[j], items[i]
    return items
