"""Answers to a question of a fixed set that must score 0: what graders elsewhere have given points for."""

from __future__ import annotations

from harness.tasks.task import Sample, integer_attacks


def attacks(grader: str, sample: Sample) -> list[str]:
    """By the grader's name, as harness.answers.by_name has it. Each stands between the tags of an answer."""
    gold, echo = sample.target, sample.prompt[:200]
    match grader:
        case "integer":
            return integer_attacks(sample)
        case "maths":
            bare = gold.removeprefix("\\boxed{").removesuffix("}")
            return [
                "", " ", "None", "\\boxed{}", "\\boxed{?}", "\\text{the answer}", f"{bare}+1", f"{bare} or 123456789",
                f"{bare}, 123456789", f"I guess {bare}", f"not {bare}", "0/0", "9" * 100, "9**9**9**9", "\\left(" * 40,
                "{" * 200, "\x00", echo,
            ]  # fmt: skip
        case "choice":
            other = "B" if gold == "A" else "A"
            letters = "ABCDEFGHIJ"
            return [
                "", other, gold.lower(), f"({gold})", f"{gold}.", f"{gold} or {other}", f"{gold}, {other}", letters,
                " ".join(letters), f"I guess {gold}", f"not {gold}", f"\\boxed{{{gold}}}", f"{gold}\u200b", "1", echo,
            ]  # fmt: skip
        case "clue":
            lines = gold.splitlines()
            return ["", "A", "?", lines[0], "\n".join(lines[1:]), f"{gold}\n{lines[0]}", "A. or B.", echo]
        case _:  # code
            return ["", "pass", "```python\npass\n```", "```python\nraise SystemExit(0)\n```", echo]
