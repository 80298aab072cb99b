"""It works the right answers out, to have one that scores, and then tries every form that must not."""

import itertools
import re
import shutil
from fractions import Fraction

from tokenizers import Tokenizer

from harness.client import EnvironmentRefused, connect

run = connect()
tokenizer = Tokenizer.from_file(str(run.base / "tokenizer.json"))
prompts = run.prompts(16)


def ids(text):
    return tokenizer.encode(text, add_special_tokens=False).ids


def solve(task, text):
    numbers = [int(number) for number in re.findall(r"-?\d+", text)]
    if task == "linear":
        slope, sign, offset, total = re.search(r"Solve (\d+)x ([+-]) (\d+) = (-?\d+)\.", text).groups()
        return str((int(total) - int(sign + offset)) // int(slope))
    if task == "nim":
        pile, _, limit = numbers
        return str((pile - ("loses" in text)) % (limit + 1))
    if task == "josephus":
        people, start = numbers
        return str((start - 1 + 2 * (people - (1 << (people.bit_length() - 1)))) % people + 1)
    target, *three = numbers
    for a, b, c in itertools.permutations(three):
        for one, two in itertools.product("+-*/", repeat=2):
            for form in (f"({a}{one}{b}){two}{c}", f"{c}{two}({a}{one}{b})"):
                try:
                    if eval(re.sub(r"(\d+)", r"Fraction(\1)", form), {"Fraction": Fraction}) == target:
                        return form
                except ZeroDivisionError:
                    pass


def forms(gold):
    arabic = gold.translate({ord("0") + digit: 0x660 + digit for digit in range(10)})
    wide = gold.translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
    for answer in [
        "", f"{gold} or 7", f"7, {gold}", f"{gold}={gold}", f"0{gold}", f"+{gold}", f"{gold}.0", f"{gold}e0",
        f"{gold}e999999999", "9" * 90, "9**9**9", f"1e400-1e400+{gold}", "nan", "inf", arabic, wide, f"{gold}\u200b",
        f"{gold}\n", f"{gold}\x00",
        f"x={gold}", f"\\boxed{{{gold}}}", f"int({gold})", f"{gold};", f"# {gold}", f"{gold}²",
    ]:  # fmt: skip
        yield f"<think>a</think><answer>{answer}</answer>"
    good = f"<think>a</think><answer>{gold}</answer>"
    yield from [
        good + good, f"<answer>{gold}</answer>", f"<think>a</think><answer>7</answer><answer>{gold}</answer>",
        f"<think>a</think><answer>{gold}</answer><answer>7</answer>", f"<think><answer>{gold}</answer></think>",
        f"<think>a</think><answer><answer>{gold}</answer></answer>", f"<think>a</think><answer>{gold}",
        f"<think><think>a</think></think><answer>{gold}</answer>", f"{good} ", f" {good}", f"{good}\nthat is all",
        f"<THINK>a</THINK><ANSWER>{gold}</ANSWER>", f"<think>a</think>\n\n<answer>{gold}</answer>", gold,
        f"<think>a</think><answer {gold}>{gold}</answer>", f"<think>a</think><answer>{gold}</answer><|user|>",
        f"<|system|>{good}", f"<think>a</think><answer><!-- -->{gold}</answer>",
    ]  # fmt: skip


right = 0
for prompt in prompts:
    gold = solve(prompt.task, tokenizer.decode(prompt.token_ids, skip_special_tokens=False))
    text = f"<think>a</think><answer>{gold}</answer>"
    right += run.score([(prompt.id, [*ids(text), run.end_token_id])])[0].correct
    tries = [[*ids(form), run.end_token_id] for form in forms(gold)]
    scores = run.score([(prompt.id, row) for row in tries if len(row) <= run.max_new_tokens])
    print(f"TRIED {prompt.task}: {len(scores)} forms, correct {sum(score.correct for score in scores)}")
    print(f"TRIED no end: correct {run.score([(prompt.id, ids(text))])[0].correct}")
    for row in ([run.end_token_id, *ids(text)], [*ids(text), run.end_token_id, 5], [360], [-1], [2**70]):
        try:
            print("TRIED odd tokens: correct", run.score([(prompt.id, row)])[0].correct)
        except EnvironmentRefused:
            print("TRIED odd tokens: refused")
print(f"TRIED the right answers: {right} of {len(prompts)}")
shutil.copyfile(run.base / "model.safetensors", run.output / "model.safetensors")
