"""Make the small base model of the cpu-deduction track and its warm-up traces, and say how good they are.

    python scripts/make/make_deduction_base.py --out harness/models/deduction-base

The published way from a base model to a reasoner has three steps, and this file makes what the first two need:

1. **Base.** Supervised training from random weights on two kinds of text: a question, often without some of its
   premises, and thinking about it; premises, and what each literal implies (`If B then C. B→C,not-C→not-B;B:C;…`).
   Three rounds, the rate falling to zero in each; in the last, questions stand in the chat template and thinking in its
   tags. The base thinks as people do, more often hastily than with care, and it has never given an answer.
2. **Warm-up traces** (`warmup.jsonl`): training-side questions with completions of mixed quality, for a trainer to
   imitate. They teach the format and a method: deny the conclusion and follow the consequences until two of them
   contradict each other (`!`, so it follows) or nothing is left (`.`). Half are hasty: a rule's converse taken for its
   contraposition *and* a search given up at once, which is right no more often than a coin; one in ten is a bare guess.
   What is left to RL is to prefer the careful ways.

The method is resolution by unit propagation, which is complete here: with at most two letters a premise, and premises
that can hold together, an assumption contradicts them if and only if its chain of consequences does (Davis and Putnam
1960; Even, Itai and Shamir 1976 for two letters a clause).

Both use training-side questions only (`split="train"`; one that loses premises is looked at again): neither has met a
held-out question. A rerun gives the same `warmup.jsonl`; weights differ in their bits on other hardware, so the
files in the repository, with their hashes in the track, are the base and the traces.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import torch
from bases import (
    TEMPLATE,
    encode,
    generate,
    padded,
    random_llama,
    save,
    train,
    train_tokenizer,
)
from tokenizers import Regex, pre_tokenizers
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from harness import files
from harness.frozen.draw import sample, split_of
from harness.frozen.format import Sample
from harness.tasks import TASKS

# ---------------------------------------------------------------- constants

SEED = 20261121
KEY = b"nano-r1 deduction traces v1"
NAMES = ("syllogism", "entailment")  # the track's tasks
WIDTH, LAYERS, HEADS, HIDDEN = 96, 4, 6, 288

ROUNDS = (NAMES, NAMES, ("syllogism", "entailment", "entailment"))  # the tasks of each; the last in the chat template
STEPS, TEXTS, QUESTIONS = 2400, 64, 60_000  # updates a round, texts an update, questions to draw from

# How the texts of the base think: each fault has its own share, whatever the other does.
CONVERSE = 0.6  # takes "if" for "if and only if", and "or" for "either or"
SHORT = 0.15  # takes one known literal only

TRACES = 2000
GUESS = 0.1  # share without any thinking
HASTY = 0.5  # share, of the others, with both faults; the rest have none

# ---------------------------------------------------------------- logic

Literal = str  # "B" or "not-B"
Rule = tuple[Literal, Literal]  # the first implies the second


class Statement(NamedTuple):
    """`kind` is a key of TEXT; `b` is empty for a fact."""

    kind: str
    a: Literal
    b: Literal


TEXT = {
    "fact": "{a}",
    "if": "if {a} then {b}",
    "or": "{a} or {b}",
    "iff": "{a} if and only if {b}",
    "all": "all {a} are {b}",
    "no": "no {a} are {b}",
    "some-not": "some {a} are not {b}",
    "some": "some {a} are {b}",
}
LITERAL = "((?:not-)?[A-Z])"
PATTERNS = {kind: re.compile(text.format(a=LITERAL, b=LITERAL)) for kind, text in TEXT.items()}


def write(statement: Statement) -> str:
    return TEXT[statement.kind].format(a=statement.a, b=statement.b)


def read(text: str) -> Statement:
    """The statement that `write` wrote, or the same as a sentence's beginning."""
    text = re.sub("^(Not-|If|All|No|Some)", lambda word: word[0].lower(), text)
    for kind, pattern in PATTERNS.items():
        if match := pattern.fullmatch(text):
            return Statement(kind, *(*match.groups(), "")[:2])
    raise ValueError(f"{text!r} is not a statement")


def opposite(literal: Literal) -> Literal:
    return literal.removeprefix("not-") if literal.startswith("not-") else f"not-{literal}"


def rules(statement: Statement, hasty: bool = False) -> list[Rule]:
    """What a statement lets one infer: each way and its contraposition. A hasty reader takes its converse instead."""
    kind, a, b = statement
    match kind:
        case "if" | "all" | "iff":
            this, then = a, b
        case "or":
            this, then = opposite(a), b
        case "no":
            this, then = a, opposite(b)
        case _:
            return []
    both = [(this, then), (then, this)]
    if hasty:
        return both
    ways = both if kind == "iff" else both[:1]
    return [rule for this, then in ways for rule in ((this, then), (opposite(then), opposite(this)))]


def facts_of(statement: Statement) -> list[Literal]:
    """The literals that hold of one thing (the only one there is in propositional logic); none for a rule."""
    kind, a, b = statement
    return {"fact": [a], "some": [a, b], "some-not": [a, opposite(b)]}.get(kind, [])


def deny(statement: Statement) -> tuple[list[Literal], list[Rule]]:
    """The literals of one thing and the rules that its denial gives: one of the two is empty."""
    kind, a, b = statement
    match kind:
        case "fact":
            return [opposite(a)], []
        case "if" | "all":
            return [a, opposite(b)], []
        case "or":
            return [opposite(a), opposite(b)], []
        case "no":
            return [a, b], []
        case "some":
            return [], rules(Statement("no", a, b))
    return [], rules(Statement("all", a, b))


def spell(given: list[Rule]) -> str:
    return ",".join(f"{this}→{then}" for this, then in given) + ";"


def consequences(literal: Literal, given: list[Rule]) -> list[Literal]:
    """What the rules say of it, once each."""
    return list(dict.fromkeys(then for this, then in given if this == literal))


def chain(start: list[Literal], given: list[Rule], most: int = 99) -> tuple[str, bool]:
    """Take what is known one by one and add what each implies: `B,D;B:C;D:not-C!` or, without contradiction, `B;B:.`

    Stops looking after `most` of them. Second value: is there a contradiction?
    """
    known: list[Literal] = []
    for literal in start:
        if literal not in known:
            known.append(literal)
        if opposite(literal) in known:
            return f"{','.join(known)}!", True
    steps, done = ",".join(known), 0
    while done < min(len(known), most):
        old, new = known[done], list[Literal]()
        for literal in consequences(old, given):
            if literal not in known:
                known.append(literal)
                new.append(literal)
            if opposite(literal) in known:
                return f"{steps};{old}:{','.join(new)}!", True
        steps, done = f"{steps};{old}:{','.join(new)}", done + 1
    return f"{steps}.", False


# ---------------------------------------------------------------- thinking


def parts(prompt: str) -> tuple[list[Statement], Statement]:
    """The premises, and the conclusion that is asked about."""
    body = prompt.removeprefix("No group is empty. ")
    stated, _, rest = body.partition(". Does it follow that ")
    return [read(text) for text in stated.split(". ")], read(rest.partition("?")[0])


def trace(item: Sample, hasty: bool = False, most: int = 99) -> tuple[str, str]:
    """(thinking, answer) by the method, or by a hasty reading of it."""
    premises, conclusion = parts(item.prompt)
    given = [rule for premise in premises for rule in rules(premise, hasty)]
    facts = [premise.a for premise in premises if premise.kind == "fact"]
    start, more = deny(conclusion)
    starts = [[*start, *facts]]
    if not start:
        terms = dict.fromkeys([conclusion.a, conclusion.b, *(term for premise in premises for term in premise[1:])])
        starts = [literals for premise in premises if (literals := facts_of(premise))] or [[term] for term in terms]
    thinking = spell([*given, *more])
    for start in starts:
        line, contradiction = chain(start, [*given, *more], most)
        thinking += line
        if contradiction:
            return thinking, "yes"
    return thinking, "no"


def as_people_do(item: Sample, rng: random.Random) -> tuple[str, str]:
    """`trace`, read hastily or given up at once as often as CONVERSE and SHORT say."""
    return trace(item, rng.random() < CONVERSE, 1 if rng.random() < SHORT else 99)


# ---------------------------------------------------------------- base: texts

Text = list[tuple[str, bool]]  # pieces; is each to be learnt?


def worked_question(task: str, item: Sample, rng: random.Random, *, in_template: bool) -> Text:
    """A question, often without some of its premises, and some thinking about it. No answer."""
    *stated, rest = item.prompt.split(". ")
    kept = [premise for i, premise in enumerate(stated) if i in (0, len(stated) - 1) or rng.random() < 0.6]
    fewer = ". ".join([*kept, rest])
    if split_of(task, fewer) == "train":  # else it is a held-out question
        item = replace(item, prompt=fewer)
    thinking = as_people_do(item, rng)[0]
    if in_template:
        return [(TEMPLATE.format(prompt=item.prompt), False), (f"<think>{thinking}</think>", True)]
    return [(f"{item.prompt} ", False), (thinking, True)]


def worked_premises(item: Sample, rng: random.Random) -> Text:
    """Some premises, the rules they give, and what each literal implies by those, in any order."""
    premises, _ = parts(item.prompt)
    premises = rng.sample(premises, rng.randint(1, len(premises)))
    given = [rule for premise in premises for rule in rules(premise)]
    pieces = [(" ".join(capital(write(premise)) for premise in premises) + " ", False), (spell(given), True)]
    letters = dict.fromkeys(term.removeprefix("not-") for premise in premises for term in premise[1:] if term)
    literals = [literal for letter in letters for literal in (letter, opposite(letter))]
    for literal in rng.sample(literals, len(literals)):
        pieces += [(f"{literal}:", False), (f"{','.join(consequences(literal, given))};", True)]
    return pieces


def capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def questions(label: bytes, count: int, names: tuple[str, ...] = NAMES) -> list[tuple[str, Sample]]:
    """(task, training-side question), the tasks in turn."""
    return [(name, sample(TASKS[name], KEY + label, "train", i)) for i, name in zip(range(count), cycle(names))]


# ---------------------------------------------------------------- warm-up: traces


def careful_or_hasty(item: Sample, rng: random.Random) -> tuple[str, str]:
    """`trace`, with both faults as often as HASTY says, else with none."""
    hasty = rng.random() < HASTY
    return trace(item, hasty, 1 if hasty else 99)


def mixed(item: Sample, rng: random.Random, think: Callable[[Sample, random.Random], tuple[str, str]]) -> str:
    """A completion: a bare guess as often as GUESS says, else thought out."""
    if rng.random() < GUESS:
        return completion("", rng.choice(["yes", "no"]))
    return completion(*think(item, rng))


def completion(thinking: str, answer: str) -> str:
    return f"<think>{thinking}</think><answer>{answer}</answer>"


def warmup() -> list[dict[str, str]]:
    """The traces of the track: {"task", "prompt", "completion"}, the tasks in turn."""
    rng = random.Random(SEED)
    return [
        {"task": task, "prompt": item.prompt, "completion": mixed(item, rng, careful_or_hasty)}
        for task, item in questions(b" warm-up", TRACES)
    ]


# ---------------------------------------------------------------- tokenizer


def make_tokenizer() -> PreTrainedTokenizerFast:
    """`B` and `not-B` are a token each wherever they stand, as is each phrase between them."""
    pieces = [
        pre_tokenizers.Split(Regex(r"([Nn]ot-)?[A-Z](?![a-z])|[.?] ?|Does it follow that |[:;,!.→]"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    rng = random.Random(SEED)
    texts = [
        text for _, item in questions(b" warm-up", TRACES) for text in (item.prompt, mixed(item, rng, as_people_do))
    ]
    return train_tokenizer(pieces, [re.sub("</?(think|answer)>", "", text) for text in texts])


# ---------------------------------------------------------------- training the base


def build(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    return random_llama(tokenizer, WIDTH, LAYERS, HEADS, HIDDEN, "sdpa")


def batches(tokenizer: PreTrainedTokenizerFast, number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(ids, labels), each [TEXTS, length], right-padded, of similar lengths; label -100: not learnt."""
    rng, pool = random.Random(SEED + number), questions(b" base", QUESTIONS, ROUNDS[number])
    in_template = number == len(ROUNDS) - 1
    while True:
        rows = []
        for task, item in rng.sample(pool, 8 * TEXTS):
            pieces = (
                worked_question(task, item, rng, in_template=in_template)
                if rng.random() < 0.75
                else worked_premises(item, rng)
            )
            rows.append(encode(tokenizer, pieces))
        yield from padded(rows, TEXTS, tokenizer.pad_token_id, rng)


@torch.inference_mode()
def right_thinking(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, count: int = 300) -> float:
    """Share of training-side questions on which greedy decoding thinks as `trace` does, with care or hastily."""
    pool = questions(b" probe", count)
    prompts = [TEMPLATE.format(prompt=item.prompt) + "<think>" for _, item in pool]
    made = generate(model, tokenizer, prompts, do_sample=False)
    ways = [(False, 99), (True, 99), (False, 1), (True, 1)]
    return sum(
        any(text.startswith(trace(item, *way)[0] + "</think>") for way in ways)
        for text, (_, item) in zip(made, pool, strict=True)
    ) / len(pool)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the base model and the traces")
    args = parser.parse_args()
    torch.manual_seed(SEED)
    start = time.monotonic()
    tokenizer = make_tokenizer()
    model = build(tokenizer)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens", flush=True)
    for number in range(len(ROUNDS)):
        train(model, batches(tokenizer, number), STEPS)
    save(model, tokenizer, args.out)
    files.write(args.out / "warmup.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in warmup()))
    share = right_thinking(model.eval(), tokenizer)
    print(json.dumps({"seconds": round(time.monotonic() - start), "right_thinking": share}))


if __name__ == "__main__":
    main()
