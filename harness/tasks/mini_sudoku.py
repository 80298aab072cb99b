"""Sudoku, 4 by 4: the same task on 16 cells, small enough for a small model.

Only 288 full grids exist, so train and held-out puzzles share them; what differs is which cells are shown.
"""

from __future__ import annotations

from harness.tasks.sudoku import Sudoku


class MiniSudoku(Sudoku):
    name = "mini-sudoku"
    distinct = 9_101_952  # puzzles of 6 to 9 clues with one solution; counted by the test
    box = 2
    clues = (6, 9)
