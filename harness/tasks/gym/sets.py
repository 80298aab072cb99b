"""The data sets that are tasks, with their forms, configurations and corrections."""

from __future__ import annotations

from harness.tasks.gym import edits
from harness.tasks.gym.forms import (
    CLAIMS,
    COMMAS,
    COMPLEX,
    DECIMAL,
    EXACT,
    FACTORS,
    FRACTION,
    GRID,
    INTEGER,
    LIST,
    TOKENS,
    WORDS,
)  # fmt: skip
from harness.tasks.gym.rules import COLOURING, CRYPTARITHM, PALINDROME, PATH, SURVO
from harness.tasks.gym.task import Gym

BOTH = ("True", "False")
TRUTH = "Answer with True or False."
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "Yes", "No")
COLOURS = (
    "red", "green", "blue", "yellow", "white", "orange", "purple", "pink", "brown", "gray", "cyan", "magenta", "gold",
    "silver", "indigo", "violet",
)  # fmt: skip

GYM: tuple[Gym, ...] = (
    # algebra and arithmetic
    Gym("basic_arithmetic", INTEGER, 11_921, {"operators": ("+", "-", "*")}),
    Gym("chain_sum", INTEGER, 11_554),
    Gym("products", INTEGER, 11_152, {"min_digits": 2, "max_digits": 4}),
    Gym("gcd", INTEGER, 11_880),
    Gym("lcm", INTEGER, 11_885, {"max_value": 1000}),
    Gym("count_bits", INTEGER, 12_000),
    Gym("count_primes", INTEGER, 11_994),
    Gym("leg_counting", INTEGER, 11_999),
    Gym("simple_equations", INTEGER, 12_000),
    Gym("simple_geometry", INTEGER, 11_707, edit=edits.convex),
    Gym("decimal_chain_sum", DECIMAL, 12_000),
    Gym("number_format", DECIMAL, 12_000, edit=edits.as_shown),
    Gym("dice", FRACTION, 11_274, {"num_dice": 5}),
    Gym("fraction_simplification", FRACTION, 11_993, {"styles": ("plain",)}),
    Gym("complex_arithmetic", COMPLEX, 11_870, edit=edits.in_integers),
    Gym("bitwise_arithmetic", EXACT, 11_999, ask="Answer in hexadecimal with small letters, such as 0x3f or -0x3f."),
    Gym("base_conversion", EXACT, 11_998, {"min_value": 100, "max_value": 1_000_000}),
    Gym("prime_factorization", FACTORS, 11_256, {"min_value": 1000, "max_value": 100_000}, edit=edits.composite),
    Gym("calendar_arithmetic", WORDS, 10_394, edit=edits.dated, choices=DAYS, ask=""),
    # strings and words
    Gym("binary_alternation", INTEGER, 11_436),
    Gym("letter_counting", INTEGER, 11_983, {"min_words": 10, "max_words": 30},
        ask="Capital and small letters count alike. Answer with an integer in digits."),
    Gym("palindrome_generation", PALINDROME, 11_992, {"min_length": 5, "max_length": 12}, edit=edits.of_three_letters),
    Gym("spell_backward", EXACT, 11_553, edit=edits.unless_echo("word")),
    Gym("string_insertion", EXACT, 12_000, {"min_string_length": 10, "max_string_length": 30},
        edit=edits.unless_echo("string")),
    Gym("string_splitting", TOKENS, 11_494, {"max_initial_machines": 50}),
    Gym("string_synthesis", TOKENS, 10_980, {"max_initial_blocks": 40}),
    Gym("word_sequence_reversal", COMMAS, 12_000, edit=edits.unless_echo("words", ", ")),
    Gym("word_sorting", COMMAS, 12_000, edit=edits.unless_echo("original_words", ", ")),
    Gym("number_filtering", LIST, 12_000, edit=edits.filtered),
    Gym("number_sorting", LIST, 12_000, edit=edits.reordered),
    Gym("needle_haystack", WORDS, 11_998, {"max_num_statements": 50}, edit=edits.asked_once,
        ask="Answer with the name only."),
    # matrices
    Gym("binary_matrix", GRID, 11_673, {"min_n": 4, "max_n": 8}, edit=edits.in_rows),
    Gym("rotate_matrix", GRID, 12_000, {"min_n": 3, "max_n": 8}, edit=edits.turned),
    Gym("spiral_matrix", TOKENS, 12_000, {"min_n": 3, "max_n": 8}),
    Gym("largest_island", INTEGER, 11_989, {"min_num_islands": 2, "min_island_size": 3}, edit=edits.in_rows),
    Gym("rotten_oranges", INTEGER, 11_999, {"min_n": 6, "max_n": 10, "p_oranges": 0.9}, edit=edits.in_rows),
    # graphs, logic and puzzles
    Gym("course_schedule", WORDS, 12_000, choices=BOTH, ask=TRUTH),
    Gym("path_star", TOKENS, 12_000),
    Gym("shortest_path", PATH, 11_999, {"min_rows": 6, "min_cols": 6, "p_blocked": 0.3}, edit=edits.feasible),
    Gym("graph_color", COLOURING, 12_000, {"edge_probability": 0.3}, edit=edits.coloured),
    Gym("knights_knaves", CLAIMS, 12_000, edit=edits.without_full_stop, ask=""),
    Gym("color_cube_rotation", WORDS, 12_000, edit=edits.without_half_turns, choices=COLOURS),
    Gym("cryptarithm", CRYPTARITHM, 12_000),
    Gym("kakurasu", GRID, 11_233),
    Gym("survo", SURVO, 12_000),
)  # fmt: skip
