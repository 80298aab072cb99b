"""Alice in Wonderland: families that are built and counted, and the paper's own prompts with the task's formulas.

Of the prompts (github.com/LAION-AI/AIW, Apache-2.0) an excerpt is shipped; the whole file is looked for in real_data.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, deque
from pathlib import Path
from typing import Any

import pytest
from generated_tasks import KEY, each
from real_data import whole

from harness.frozen.draw import Stream, Task, sample
from harness.frozen.format import Sample
from harness.tasks.aiw import AliceInWonderland, others
from harness.tasks.aiw_circles import AliceInWonderlandCircles, joined
from harness.tasks.aiw_plus import AliceInWonderlandPlus, cousins

EXCERPT = Path(__file__).parents[1] / "data" / "benchmarks" / "aiw.json"


def draws(task: Task, n: int) -> list[Sample]:
    return [sample(task, b"aiw", "train", index) for index in range(n)]


# ---------------------------------------------------------------- by building the families


def test_aiw_by_counting_people() -> None:
    kinds = Counter[tuple[str, ...]]()
    for one in draws(AliceInWonderland(), 1000):
        person, a, first, b, second = re.match(
            r"(\w+) has (\d+) ([a-z ]+?)s? and s?he also has (\d+) ([a-z ]+?)s?\. ", one.prompt
        ).groups()  # type: ignore[union-attr]
        people = ["female" if person == "Alice" else "male"]
        for number, noun in ((a, first), (b, second)):
            people += [{"sister": "female", "brother": "male"}.get(noun, noun.split()[0])] * int(number)
        siblings = r"How many (\w+?)s does \w+'s (\w+) have\?$"
        friends = r"How many ([a-z ]+?)s does a (\w+) \w+ of \w+ have\?$"
        wanted, asked = (re.search(siblings, one.prompt) or re.search(friends, one.prompt)).groups()  # type: ignore[union-attr]
        sexes = {"sister": "female", "brother": "male", "female": "female", "male": "male"}
        people.remove(sexes[asked])  # whoever is asked about; someone else than the person named, or of the same kind
        sex = sexes.get(wanted.split()[0])
        assert one.target == str(len(people) if sex is None else people.count(sex))
        kinds[person, wanted, asked] += 1
    assert len(kinds) == 2 * 2 * (3 + 3 + 3)


def test_aiw_plus_by_building_the_family() -> None:
    asked = Counter[str]()
    for one in draws(AliceInWonderlandPlus(), 1000):
        numbers = [int(number) for number in re.findall(r"\d+", one.prompt)]
        sisters, brothers, *_ = numbers
        own = Counter(female=sisters + 1, male=brothers)
        apart = re.search(
            r"has (\d+) nephews? and (\d+) nieces? in total\. Alice.* has (\d+) nephews? and (\d+) niece", one.prompt
        )
        sons, daughters = numbers[-2:]
        question = re.search(r"How many (.+) does Alice's (?:sister|brother) have\?$", one.prompt)[1]  # type: ignore[index]
        asked[question + (" apart" if apart else "")] += 1
        if apart:
            mothers_side = Counter(male=int(apart[1]), female=int(apart[2])) - own
            fathers_side = Counter(male=int(apart[3]), female=int(apart[4])) - own
            family = mothers_side + fathers_side + Counter(male=sons, female=daughters)
            wanted = family.total() if question == "cousins" else family[question.split()[0]]
        else:
            aunts, uncles = (int(number) for number in re.findall(r"(\d+) nephews and nieces in total", one.prompt))
            wanted = aunts + uncles - 2 * own.total() + sons + daughters
            assert min(aunts, uncles) >= own.total()
        assert one.target == str(wanted)
    assert len(asked) == 4


def test_aiw_circles_by_a_graph() -> None:
    for one in draws(AliceInWonderlandCircles(), 300):
        male, female, bobs_female, bobs_male = (int(number) for number in re.findall(r"\d+", one.prompt))
        alices = {
            "Alice",
            "Matilda",
            *(f"A female {i}" for i in range(female - 1)),
            *(f"A male {i}" for i in range(male)),
        }
        bobs = {
            "Bob",
            "Matilda",
            *(f"B female {i}" for i in range(bobs_female - 1)),
            *(f"B male {i}" for i in range(bobs_male)),
        }
        met = (alices | bobs) - {"Matilda"}
        wanted = re.search(r"How many (male|female)? ?\w+ does Matilda have\?$", one.prompt)[1]  # type: ignore[index]
        sexes = ["female" if name == "Alice" or " female" in name else "male" for name in met]
        assert one.target == str(sexes.count(wanted) if wanted else len(sexes))


# ---------------------------------------------------------------- the paper's own prompts

# The forms that the tasks draw from, in the paper's words. In between may stand what changes no number.
AIW = re.compile(
    r"has (?P<a>\w+) (?P<first>[a-z ]+?)s? and (?P<who>she|he) also has (?P<b>\w+) (?P<second>[a-z ]+?)s?\s?\.[^?#]*"
    r"How many (?P<wanted>[a-z ]+?)s does (?:Alice's|Bob's|Haret's|girl's|a|the)? ?(?P<of>[a-z ]+?)"
    r"(?: of (?:Alice|Bob))? have\?"
)
CIRCLES = re.compile(
    r"has (\d+) male (?:friend|colleague)s? and she also has (\d+) female (?:friend|colleague)s?(?: in total)?\.[^?#]*"
    r"Bob has (\d+) female (?:friend|colleague)s? and (\d+) male (?:friend|colleague)s? in total[^?#]*"
    r"How many female (?:friend|colleague)s does Matilda have\?"
)
SIBLINGS = r"Alice has (\d+) sisters?(?: and (\d+) brothers?)?(?: in total| and no other siblings)?\."
CHILDREN = r"who (?:also has|has also) (\d+) (son|daughter)s?(?: and (\d+) daughters?)?"
PLUS = re.compile(
    rf"{SIBLINGS}[^?#]*?(\d+) nephews and nieces[^?#]*?(\d+) nephews and nieces[^?#]*{CHILDREN}[^?#]*"
    r"How many cousins does Alice's (?:sister|brother) have\?"
)
PLUS_PLUS = re.compile(
    rf"{SIBLINGS}[^?#]*?(\d+) nephews? and (\d+) nieces?[^?#]*?(\d+) nephews? and (\d+) nieces?[^?#]*{CHILDREN}[^?#]*"
    r"How many ((?:fe)?male )?cousins does Alice's (?:sister|brother) have\?"
)
WORDS = {"no": 0, "a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
SEX = {"sister": "female", "brother": "male", "sibling": "any", "female": "female", "male": "male"}


def solve(text: str) -> tuple[str, int] | None:
    """(The form, what the tasks' formulas say) for the last question of a form that the tasks draw, or None."""
    if match := last(PLUS_PLUS, text):
        sisters, brothers, *kin, children, which, daughters, wanted = match.groups()
        nephews, nieces = [int(kin[0]), int(kin[2])], [int(kin[1]), int(kin[3])]
        sons = int(children) if which == "son" else 0
        girls = int(daughters or 0) if which == "son" else int(children)
        male, female = cousins(int(brothers or 0), *nephews, sons), cousins(int(sisters) + 1, *nieces, girls)
        return "aiw++", {None: male + female, "male ": male, "female ": female}[wanted]
    if match := last(PLUS, text):
        sisters, brothers, aunts, uncles, children, _, daughters = (
            int(group or 0) if (group or "0").isdigit() else 0 for group in match.groups()
        )
        return "aiw+", cousins(sisters + brothers + 1, aunts, uncles, children + daughters)
    if match := last(CIRCLES, text):
        male, female, bobs_female, bobs_male = map(int, match.groups())
        people = joined({"male": male, "female": female}, {"male": bobs_male, "female": bobs_female})
        return "circles", others(people, "female", "female")
    if match := last(AIW, text):
        first, second, wanted, of = (SEX.get(match[noun].split()[0]) for noun in ("first", "second", "wanted", "of"))
        numbers = [WORDS.get(match[number], match[number]) for number in "ab"]
        if None in (first, second, wanted, of) or first == second or not all(str(n).isdigit() for n in numbers):
            return None
        group = Counter({first: int(numbers[0]), second: int(numbers[1])})
        group["female" if match["who"] == "she" else "male"] += 1
        return "aiw", others(group, of, wanted)  # type: ignore[arg-type]
    return None


def last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """Worked examples may stand before the problem."""
    return deque(pattern.finditer(text), maxlen=1).pop() if pattern.search(text) else None


def real_prompts(path: Path) -> list[tuple[int, str, str]]:
    """(id, text, answer as an integer's digits) of the prompts that have one."""
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    kept = []
    for row in rows:
        answer = str(row["right_answer"]).removesuffix(".0").strip()
        text = row["prompt"] if isinstance(row["prompt"], str) else row["prompt"][0]
        if answer.isdigit():
            kept.append((int(row["id"]), " ".join(text.split()), answer))
    return kept


def check_answers(rows: list[tuple[int, str, str]]) -> None:
    """The task's grader takes each real answer and no other."""
    task = AliceInWonderland()
    for number, text, answer in rows:
        one = Sample(f"aiw/{number}", text, answer, {})
        assert task.accepts(one, answer)
        more, less = int(answer) + 1, int(answer) - 1
        for wrong in (str(more), str(less), f"{answer}.0", f"0{answer}", f"{answer} sisters", text[:200]):
            assert not task.accepts(one, wrong)


def solve_all(rows: list[tuple[int, str, str]]) -> tuple[Counter[str], list[int]]:
    """(How many prompts of each of the tasks' forms, ids of those that the formulas answer otherwise).

    The other prompts tell it in other words (bowls, comedies, Alice and Bob apart).
    """
    forms, wrong = Counter[str](), []
    for number, text, answer in rows:
        if solved := solve(text):
            forms[solved[0]] += 1
            if str(solved[1]) != answer:
                wrong.append(number)
    return forms, wrong


def test_the_excerpt() -> None:
    rows = real_prompts(EXCERPT)
    assert len(rows) == 37
    check_answers(rows)
    assert solve_all(rows) == ({"aiw": 27, "aiw+": 1, "aiw++": 1, "circles": 1}, [])


def test_the_whole_file() -> None:
    rows = real_prompts(whole("aiw_prompts.json"))
    assert len(rows) == 811  # of 826; the others have no number for an answer
    check_answers(rows)
    # Prompt 772 has 3 brothers and 9 sisters; the data says 9, and it is 10.
    assert solve_all(rows) == ({"aiw": 309, "aiw+": 51, "aiw++": 38, "circles": 59}, [772])


# ---------------------------------------------------------------- how many questions there are


class Widths(Stream):
    """Notes how many values each random integer could have had."""

    def __init__(self, key: bytes, label: str) -> None:
        super().__init__(key, label)
        self.widths: list[int] = []

    def integer(self, low: int, high: int) -> int:
        self.widths.append(high - low + 1)
        return super().integer(low, high)


@each("aiw", "aiw-plus", "aiw-circles")
@pytest.mark.sweep
def test_distinct_is_the_product_of_the_choices(task: Task) -> None:
    """Each choice shows in the text (the tests above read them back): other choices are other questions."""
    shapes, texts, paths = set[tuple[int, ...]](), set[str](), 0
    for i in range(5000):
        stream = Widths(KEY, f"{i}/")
        texts.add(task.draw(stream)[0])
        shapes.add(tuple(stream.widths))
        paths += 1
    # One coin is no choice of the question: it says which of two shapes comes, or which count is told first.
    coin = 1 if task.name == "aiw-circles" else 2
    assert sum(math.prod(shape) // coin for shape in shapes) == task.distinct
    assert len(texts) > 0.98 * paths
