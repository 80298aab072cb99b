"""Both sudokus against another solver, and how many there are."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from generated_tasks import draws, each

from harness.tasks.mini_sudoku import MiniSudoku
from harness.tasks.sudoku import Sudoku, solutions


def exact_covers(puzzle: str, box: int) -> list[str]:
    """All solutions, by Knuth's algorithm X on dictionaries of sets: another solver than the task's."""
    size = box * box
    options = {
        (r, c, d): [("cell", r, c), ("row", r, d), ("column", c, d), ("box", r // box, c // box, d)]
        for r in range(size)
        for c in range(size)
        for d in range(1, size + 1)
        if puzzle[r * size + c] in ("0", str(d))
    }
    left: dict[tuple[Any, ...], set[tuple[int, int, int]]] = {}
    for option, columns in options.items():
        for column in columns:
            left.setdefault(column, set()).add(option)

    found, chosen = [], list[tuple[int, int, int]]()

    def search() -> None:
        if not left:
            found.append("".join(str(d) for _, _, d in sorted(chosen)))
            return
        for option in sorted(left[min(left, key=lambda column: len(left[column]))]):
            removed = []
            for column in options[option]:
                for clash in left[column]:
                    for other in options[clash]:
                        if other != column:
                            left[other].discard(clash)
                removed.append((column, left.pop(column)))
            chosen.append(option)
            search()
            chosen.pop()
            for column, members in reversed(removed):
                left[column] = members
                for clash in members:
                    for other in options[clash]:
                        if other != column:
                            left[other].add(clash)

    search()
    return found


@each("sudoku", "mini-sudoku")
@pytest.mark.sweep
def test_a_sudoku_has_the_one_solution(task: Sudoku) -> None:
    size = task.box**2
    for one in draws(task.name, 200):
        shown = "".join(re.findall(rf"^[0-{size}]{{{size}}}$", one.prompt, re.MULTILINE))
        assert shown == one.metadata["puzzle"] and len(shown) == size**2 == len(one.target)
        assert exact_covers(shown, task.box) == [one.target]
        assert task.clues[0] <= sum(digit != "0" for digit in shown) <= task.clues[1]


@pytest.mark.sweep("sudoku", "mini-sudoku")
def test_the_sudoku_solver_finds_all_solutions() -> None:
    grids = {"".join(map(str, grid)) for grid in solutions([0] * 16, 2)}
    assert len(grids) == 288 and set(exact_covers("0" * 16, 2)) == grids
    assert {one.target for one in draws("mini-sudoku", 8000)} == grids  # every full grid can be drawn
    assert list(solutions([1, 1, *[0] * 14], 2)) == []
    worked = "530070000600195000098000060800060003400803001700020006060000280000419005000080079"  # Wikipedia's example
    (answer,) = solutions([int(digit) for digit in worked], 3)
    assert answer[:9] == [5, 3, 4, 6, 7, 8, 9, 1, 2]


@pytest.mark.sweep("mini-sudoku")
def test_distinct_of_mini_sudoku() -> None:
    """A choice of cells shows one of the 288 grids uniquely if it meets each other grid's differences from it."""
    grids = np.array(list(solutions([0] * 16, 2)))
    cells = 1 << np.arange(16)
    shown = np.arange(1 << 16)
    shown = shown[np.isin(np.bitwise_count(shown), np.arange(MiniSudoku.clues[0], MiniSudoku.clues[1] + 1))]
    count = 0
    first_rows = [grid for grid in grids if grid[:4].tolist() == [1, 2, 3, 4]]  # the others are these, relabelled
    for grid in first_rows:
        differences = ((grids != grid) * cells).sum(axis=1)
        differences = np.unique(differences[differences > 0])
        count += 24 * int(np.all(shown[:, None] & differences[None, :], axis=1).sum())
    assert len(first_rows) == 12 and count == MiniSudoku.distinct
