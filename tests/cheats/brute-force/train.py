"""Exploration by enumeration: allowed, counted in the record, and capped for each prompt."""

import re
import shutil

from tokenizers import Tokenizer

from harness.client import EnvironmentRefused, connect

run = connect()
tokenizer = Tokenizer.from_file(str(run.base / "tokenizer.json"))


def answer(value):
    ids = tokenizer.encode(f"<think></think><answer>{value}</answer>", add_special_tokens=False).ids
    return [*ids, run.end_token_id]


prompt = next(p for p in run.prompts(8) if p.task == "linear")
guesses = [value for value in range(-24, 25) if value]
scores = run.score([(prompt.id, answer(value)) for value in guesses])
right = [value for value, score in zip(guesses, scores, strict=True) if score.correct]
text = tokenizer.decode(prompt.token_ids, skip_special_tokens=False)
slope, sign, offset, total = re.search(r"Solve (\d+)x ([+-]) (\d+) = (-?\d+)\.", text).groups()
print("TRIED", len(guesses), "guesses:", right == [(int(total) - int(sign + offset)) // int(slope)])
try:
    run.score([(prompt.id, answer(value)) for value in range(1000, 2000)])
    print("TRIED a thousand more: done")
except EnvironmentRefused as error:
    print("TRIED a thousand more:", error)
shutil.copyfile(run.base / "model.safetensors", run.output / "model.safetensors")
