"""Writes docs/gym.md: for each data set of reasoning-gym 0.1.25 whether it is a task here, why, and what was measured.

    python scripts/measure/audit_gym.py                     measure all, two processes, and write the page
    python scripts/measure/audit_gym.py --only dice lcm     measure these and print their rows

Of a task, what it draws is measured: its own configuration and edits. Of a data set that is left out, its default
configuration, for at most two seconds. Times are of the processor, since the machine may be busy.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import multiprocessing
import re
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from harness.frozen.draw import Stream, split_of
from harness.frozen.format import Sample
from harness.tasks.gym.forms import Form
from harness.tasks.gym.sets import GYM
from harness.tasks.gym.task import VERSION, Gym, factory

PAGE = Path(__file__).parents[2] / "docs" / "gym.md"
DRAWS = 12_000  # of each task
SECONDS = 2  # for each data set that is left out, and at most 500 draws
TASKS = {task.dataset: task for task in GYM}

OWN = "own task: "
SMALL = "look-up-sized: "
SLOW = "slow: "
LONG = "answer does not fit into 200 characters: "
OPEN = "several answers are right: "
GUESS = "the question does not fix the answer: "
BOOK = "sentences of one short book, the same on both sides: "
HASH = "other questions with another hash seed of the process"
SPLIT = "the split ignores the order of words, and sees only how many of each symbol there are: "

LEFT_OUT = {
    "ab": SPLIT + "11 kinds of questions",
    "acre": "made whole, in shares of its size: a data set of size 1 has one of its three kinds only",
    "advanced_geometry": "misleading: asks for 3 decimals, its gold angles have 2",
    "aiw": OWN + "aiw, aiw-plus",
    "arc_1d": GUESS + "several rules fit three examples",
    "arc_agi": "needs an outside data set of 800 puzzles; " + LONG + "grids",
    "bf": SMALL + "programs that print a word of a list",
    "boxnet": "no gold answer: a planner would have to be written to know one",
    "caesar_cipher": BOOK + "a model that knows them need not decipher",
    "circuit_logic": "skewed: 0 is right in 913 of 1,500 draws; drawn with box characters outside ASCII",
    "codeio": OPEN + "any input that gives the output, found by running programs of an outside file",
    "coin_flip": SMALL + "256 questions in 1,500 draws",
    "composite": "not a data set, but a mixture of others",
    "countdown": OWN + "countdown, countdown-large, countdown-hard",
    "decimal_arithmetic": "wrong gold: in 85 of 800 draws not the exact value rounded once to 12 digits",
    "emoji_mystery": BOOK + "hidden in characters outside ASCII",
    "family_relationships": GUESS + "husband or wife hangs on the sex of first names such as River and Winter",
    "figlet_font": SLOW + "reads its fonts anew for each question",
    "futoshiki": "answer holds < and >, which no answer may here",
    "game_of_life": SPLIT + "boards have one size, and about ten numbers of live cells",
    "game_of_life_halting": "broken verifier: whatever is written scores 1.0, `banana` too; "
    + SPLIT
    + "like game_of_life",
    "group_anagrams": SLOW + "reads a dictionary for each question; " + LONG + "lists of words",
    "gsm_symbolic": "its templates are questions of GSM8K's test set, which is a benchmark here",
    "intermediate_integration": "graded by symbolic algebra on what the model wrote, without a time limit",
    "isomorphic_strings": HASH,
    "jugs": "answer holds >, which no answer may here",
    "knight_swap": SLOW + "searches for a solution; " + OPEN + "other ways",
    "letter_jumble": BOOK + "and many words have anagrams that are words",
    "list_functions": GUESS + "several rules fit the examples",
    "mahjong_puzzle": "wrong gold: in 275 of 1,500 draws `Pass` where the rules of the question say otherwise",
    "manipulate_matrix": "misleading: to mirror horizontally means top for bottom, and the question does not say so",
    "maze": "raises an error instead of drawing, for some seeds",
    "mini_sudoku": OWN + "mini-sudoku",
    "modulo_grid": LONG + "400 cells of signs outside ASCII",
    "n_queens": SPLIT + "boards of seven kinds; " + SMALL + "parts of the 92 boards of size 8",
    "number_sequence": GUESS + "several rules fit four terms; " + SMALL + "716 questions in 1,089 draws",
    "palindrome_partitioning": LONG + "all ways to cut a string, up to 15,104 characters",
    "polynomial_equations": "misleading: asks to round down from 5, and compares with a tolerance",
    "polynomial_multiplication": HASH + "; its verifier takes the question for its answer in 3 of 60 draws",
    "pool_matrix": "seeds NumPy's global generator at each draw, the caller's too, and is not safe in threads",
    "power_function": "misleading: asks for 3 significant figures, its gold answers have 17",
    "propositional_logic": OWN + "entailment; broken verifier: all premises joined by AND score 1.0",
    "puzzle24": SLOW + "searches for a solution; " + SMALL + "715 hands of four numbers",
    "quantum_lock": OPEN + "other shortest ways",
    "ransom_note": HASH,
    "rearc": GUESS + "ARC puzzles; " + LONG + "grids",
    "rectangle_count": "questions of 6,480 characters, most of them blank",
    "rubiks_cube": OPEN + "no gold answer; an outside simulator is needed to verify one",
    "rush_hour": "no gold answer: a solver would have to be written to know one",
    "self_reference": SMALL + "866 questions in 1,500 draws; skewed",
    "sentence_reordering": GUESS + "several orders make sentences; " + BOOK + "cut at full stops",
    "simple_integration": "graded by symbolic algebra on what the model wrote, without a time limit",
    "sokoban": OPEN + "other ways; a draw takes tens of milliseconds",
    "string_manipulation": "gold answers not checked by a second solver; the unchanged string is often right",
    "sudoku": OWN + "sudoku",
    "syllogism": OWN + "syllogism; skewed: a constant Yes is right 70% of the time",
    "time_intervals": "wrong gold: 71 of 1,500 draws lose the time of day; reads today's date",
    "tower_of_hanoi": LONG + "up to 4,063 characters; " + SMALL + "90 questions in 1,500 draws",
    "tsumego": GUESS + "one gold move, and no search whether another captures as many",
    "word_ladder": SLOW + "reads a dictionary; " + OPEN + "which words count is not said",
    "zebra_puzzles": SLOW + "a solver runs for each clue",
}


@dataclass(frozen=True)
class Row:
    dataset: str
    task: bool
    why: str
    constant: str  # the answer that is right most often
    share: float  # and how often it is
    distinct: int
    draws: int
    draw_ms: float
    score_ms: float


def measure(name: str) -> Row:
    return of_task(TASKS[name]) if name in TASKS else of_default(name)


def of_task(task: Gym, draws: int = DRAWS) -> Row:
    task.draw(Stream(b"audit", "once"))  # imports and files are read here
    start = time.process_time()
    questions = [task.draw(Stream(b"audit", f"{task.name}/{i}/")) for i in range(draws)]
    draw_ms = (time.process_time() - start) * 1000 / draws
    items = [Sample("", *question) for question in questions]
    tried = [(item, answer) for item in items[:200] for answer in [item.target, *task.attacks(item)]]
    start = time.process_time()
    for item, answer in tried:
        task.accepts(item, answer)
    score_ms = (time.process_time() - start) * 1000 / len(tried)
    answers = Counter(item.target for item in items)
    if not isinstance(task.form, Form):  # an answer may be right for questions with another gold answer
        some, asked = [answer for answer, _ in answers.most_common(300)], items[:2000]
        right = {answer: sum(task.accepts(item, answer) for item in asked) for answer in some}
        best = max(right, key=lambda answer: right[answer])
        share = right[best] / len(asked)
    else:
        best, hits = answers.most_common(1)[0]
        share = hits / draws
    sides = Counter(split_of(task.name, item.prompt) for item in items)
    if not 0.15 < sides["heldout"] / draws < 0.35:
        raise SystemExit(f"{task.name}: {sides['heldout']} of {draws} are held out; about a quarter should be")
    distinct = len({item.prompt for item in items})
    return Row(task.dataset, True, why(task), best, share, distinct, draws, draw_ms, score_ms)


def why(task: Gym) -> str:
    """What was done to it, from the table in harness/tasks/gym/sets.py."""
    form = FORMS[task.form.canonical.__name__] if isinstance(task.form, Form) else "a rule of ours, all or nothing"
    parts = [form, *(f"{key} {value}" for key, value in task.config.items())]
    edit = (task.edit.__doc__ or "").split("\n")[0].rstrip(".")
    return "; ".join([*parts, *([edit[0].lower() + edit[1:]] if edit else [])])


FORMS = {
    "integer": "integer",
    "decimal": "exact decimal",
    "fraction": "fraction in lowest terms",
    "complex_integer": "complex integer",
    "exact": "exact text",
    "words": "text, in any case",
    "claims": "text, in any case, `a` for `an`",
    "tokens": "list of tokens",
    "commas": "list of words",
    "number_list": "list of numbers",
    "grid": "grid",
    "factors": "factors in any order",
}


def of_default(name: str) -> Row:
    if name == "composite":
        return Row(name, False, LEFT_OUT[name], "", 0, 0, 0, 0, 0)
    create, answers, prompts, draws, score_s, error = factory(), Counter[str](), set[str](), 0, 0.0, None
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):  # bf's compiler prints dots
        while draws < 500 and time.process_time() - start < SECONDS:
            seed = int.from_bytes(hashlib.sha256(f"{name}/{draws}".encode()).digest()[:4], "big")
            try:
                items = create(name, size=1, seed=seed)
                item = items[0]
            except Exception as caught:  # maze
                error = caught
                break
            prompts.add(item["question"])
            answers["" if item["answer"] is None else str(item["answer"]) or "(empty)"] += 1
            begun = time.process_time()
            items.score_answer("" if item["answer"] is None else item["answer"], item)
            score_s += time.process_time() - begun
            draws += 1
    spent = time.process_time() - start - score_s
    if error is not None and not draws:
        return Row(name, False, LEFT_OUT[name], "", 0, 0, 0, 0, 0)
    best, hits = answers.most_common(1)[0]
    return Row(
        name, False, LEFT_OUT[name], best, hits / draws if best else 0, len(prompts), draws, spent * 1000 / draws,
        score_s * 1000 / draws,
    )  # fmt: skip


def line(row: Row) -> str:
    shown = re.sub(r"\s+", " ", row.constant)
    shown = (shown if len(shown) <= 24 else shown[:23] + "…").replace("|", "\\|").replace("`", "'")
    constant = f"`{shown}` {row.share:.1%}" if shown else "none given"
    distinct = f"{row.distinct:,} of {row.draws:,}" if row.draws else "-"
    times = (f"{row.draw_ms:.2f}", f"{row.score_ms:.4f}") if row.draws else ("-", "-")
    cells = [f"`{row.dataset}`", "in" if row.task else "out", row.why, constant, distinct, *times]
    return f"| {' | '.join(cells)} |"


def page(rows: list[Row]) -> str:
    inside = [row for row in rows if row.task]
    return f"""\
# reasoning-gym {VERSION}, audited

All {len(rows)} data sets: {len(inside)} are tasks here (`gym-` and the name with hyphens;
[`harness/tasks/gym/sets.py`](../harness/tasks/gym/sets.py)), {len(rows) - len(inside)} are not. Written by
`scripts/measure/audit_gym.py`; the table is a test's input, which fails when it and the code disagree.

How a task differs from the data set of the same name:

- **Seeds.** Items there are seeded with `Random(seed + index)`, so that seed 1 and seed 2 share 599 of 600 questions.
  Here each question is a data set of size 1, whose seed is 32 bits of the question's own HMAC stream. Nothing depends
  on the hash seed of the process: three data sets do and are out; a test draws the others with different ones.
- **Version.** The package must be {VERSION}. Another one, or none, is refused with a sentence that says what to
  install.
- **Graders.** None of its verifiers is called. An answer is brought into the canonical shape of its form and compared
  with the gold answer: all or nothing. Where several answers are right, a rule of a few lines checks the answer against
  the question. What the verifiers there do: give part of the points, refuse right answers (`survo`: 5 puzzles of 300
  have several, it takes one), evaluate what the model wrote (`string_insertion`), take the question for its answer
  (`polynomial_multiplication`: unexpanded products score 1.0), accept anything (`game_of_life_halting`).
- **Prompts.** Each ends with what an answer looks like, and is plain ASCII.
- **Edits.** Questions with a false premise or that copying answers are drawn anew: 395 of 1,000 "convex" polygons of
  `simple_geometry` were not convex, and in 951 of 1,000 draws of `string_insertion` the string itself was the answer.

What the columns say:

- **best constant**: the answer that is right most often, and how often. `True` or `False` has a floor of a half.
- **distinct**: different prompts among the questions drawn: a lower bound, not a count of all. Of a task {DRAWS:,} are
  drawn; of a data set that is out, at most 500, for at most {SECONDS} seconds.
- **ms a draw, ms a score**: processor time on two cores of an AMD EPYC, shared. Of a task with its edits, and a score
  is the mean over gold answers and attacks; of a data set that is out, its own verifier on its own gold answer.

| data set | here | how, or why not | best constant | distinct | ms a draw | ms a score |
|---|---|---|---|---:|---:|---:|
{chr(10).join(map(line, rows))}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="DATASET", help="measure these and print their rows")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", SyntaxWarning)
    names = sorted([*TASKS, *LEFT_OUT])
    if unknown := set(arguments.only or ()) - set(names):
        parser.error(f"there is no data set {', '.join(sorted(unknown))} in reasoning-gym {VERSION}")
    chosen = arguments.only or names
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        measured = track(pool.imap_unordered(measure, chosen), total=len(chosen), description="data sets")
        rows = sorted(measured, key=lambda row: row.dataset)
    if arguments.only:
        print("\n".join(map(line, rows)))
        return
    PAGE.write_text(page(rows), encoding="utf-8")
    print(json.dumps({row.dataset: row.distinct for row in rows if row.task}))
    sys.stderr.write(f"wrote {PAGE}\n")


if __name__ == "__main__":
    main()
