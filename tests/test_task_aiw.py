"""Alice in Wonderland: families that are built and counted, and the paper's own prompts with the task's formulas.

The prompts (github.com/LAION-AI/AIW, Apache-2.0) are not shipped: NANO_R1_TEST_DATA names a folder with aiw_prompts.json.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.tasks import Sample, Task, sample
from harness.tasks.aiw import AliceInWonderland, others
from harness.tasks.aiw_circles import AliceInWonderlandCircles
from harness.tasks.aiw_plus import AliceInWonderlandPlus, cousins

DATA = Path(os.environ.get("NANO_R1_TEST_DATA", "../shared/data")) / "aiw_prompts.json"


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
        apart = re.search(r"has (\d+) nephews? and (\d+) nieces? in total\. Alice.* has (\d+) nephews? and (\d+) niece", one.prompt)
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
        alices = {"Alice", "Matilda", *(f"A female {i}" for i in range(female - 1)), *(f"A male {i}" for i in range(male))}
        bobs = {"Bob", "Matilda", *(f"B female {i}" for i in range(bobs_female - 1)), *(f"B male {i}" for i in range(bobs_male))}
        met = (alices | bobs) - {"Matilda"}
        wanted = re.search(r"How many (male|female)? ?\w+ does Matilda have\?$", one.prompt)[1]  # type: ignore[index]
        sexes = ["female" if name == "Alice" or " female" in name else "male" for name in met]
        assert one.target == str(sexes.count(wanted) if wanted else len(sexes))


# ---------------------------------------------------------------- the paper's own prompts

NUMBERS = dict(zip("no one two three four five six seven eight".split(), range(9), strict=True))
FEMALE = r"sisters?|girls?|females?|female friends?|female colleagues?|scientist(?: colleagues?)?|blue bowls|blue|comedies"
MALE = r"brothers?|males?|male friends?|male colleagues?|software engineer(?: colleagues?)?|non-scientist(?: colleagues?)?"


def sex_of(noun: str) -> str:
    """Of the kinds in the prompts the one that Alice belongs to counts as female, whatever it is called."""
    if re.search(r"\b(sibling|friends$|bowls are on the table beside the big)", noun) and not re.search(r"male", noun):
        return "any"
    return "female" if re.search(rf"^(?:{FEMALE})\b", noun) else "male"


def problem_of(prompt: str | list[str]) -> str:
    """The last question of the prompt, without what is said about the form of the answer."""
    text = prompt if isinstance(prompt, str) else prompt[0]
    if not isinstance(prompt, str) and "X=3 and Y=6" in prompt[-1]:
        text = text.replace("X", "3").replace("Y", "6")
    text = re.split(r"### Problem:|user<\|end_header_id\|>", text)[-1]
    text = re.sub(r"\s+", " ", text[: text.index("?") + 1])
    text = re.sub(r"\b(no|one|two|three|four|five|six|seven|eight)\b(?= (?:brother|sister))", lambda m: str(NUMBERS[m[1]]), text)
    return re.sub(r"\ba (?=(?:brother|sister)\b)", "1 ", text)


def answer_of(text: str) -> int | None:
    """What the task's formulas say to a prompt of the paper. None: not a question about such numbers."""
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    if "cousins" in text:
        return cousins_of(text)
    if match := re.search(r"How many female \w+ does Matil(?:da|de) have", text):
        circles = r"has (\d+) male \w+ and she also has (\d+) female .*Bob has (\d+) female \w+ and (\d+) male"
        if match := re.search(circles, text):
            male, female, bobs_female, bobs_male = map(int, match.groups())
            return others({"female": female + bobs_female, "male": male + bobs_male + 1}, "female", "female")
    question = re.search(r"How many (.+)$", text)
    if question is None:
        return None
    if "bowl" in text:
        blue, red = (int(re.search(rf"(\d+) {colour}", text)[1]) for colour in ("blue", "red"))  # type: ignore[index]
        group = {"female": blue + 1, "male": red}  # the big bowl is blue
        if question[1].startswith("bowls"):
            return others(group, "female", "any")
        of_blue = re.search(r"near a blue|that a blue", question[1])
        return others(group, "female" if of_blue else "male", "female")
    if "comed" in text:
        comedies = next(int(n) for n, noun in re.findall(r"(\d+) (?:other )?(\w+)", text) if noun == "comedies")
        return others({"female": comedies + 1, "male": 1}, "male", "female")
    group = group_of(text)
    wanted = re.match(r"(sisters in total|[a-z -]+?)(?= do| are)", question[1])
    if wanted is None or not group:
        return None
    kind = sex_of(wanted[1])
    if "in common" in text or "do Alice and Bob have" in text:
        return others(group, "female", "any") - 1
    if "in total?" in question[1]:
        return group.get(kind)
    of = re.search(r"(?:does|do) (?:an? |the )?(.+?) have", question[1])
    if of is None:
        return None
    asked = "male" if re.search(r"brother$|^Bob$|boy$|^male |^Lewis|male colleague$|software|non-sci|^female friend of Bob^", of[1]) else "female"
    if kind == "any":
        return others(group, asked, "any") if len(group) == 2 else None
    return others(group, asked, kind) if kind in group else None


def group_of(text: str) -> dict[str, int]:
    """How many of either sex there are in all, as far as it is said."""
    group: dict[str, int] = {}
    if match := re.search(r"(?:Alice and Mary|Two girls) are sisters who also have further (.+?)\.", text):
        said = {sex_of(noun): int(n) for n, noun in re.findall(r"(\d+) (?:other )?(\w+)", match[1])}
        return {"female": said.get("female", 0) + 2, "male": said.get("male", 0)}
    if match := re.search(r"Alice and (\d+) other (?:girls?|females?) are", text):
        group["female"] = int(match[1]) + 1
    person, alone = "female", "Besides each other" not in text
    words = re.compile(
        rf"\b(each of her brothers|[Tt]he girl|[Tt]he boy|A girl|A boy|Alice|Bob|Haret|Matilda|He|She|he|she)\b|"
        rf"(\d+) (?:other )?((?:{FEMALE})|(?:{MALE}))\b"
    )
    for name, number, noun in words.findall(text.split("How many")[0]):
        if name:
            person = "male" if re.search(r"brothers|boy|Bob|He$|he$", name) and not re.search(r"[Ss]he", name) else "female"
        else:
            kind = sex_of(noun)
            group[kind] = int(number) + (kind == person if alone else 1)
    return group


def cousins_of(text: str) -> int:
    """AIW+ and AIW++: numbers of nephews and nieces in all or apart."""
    own = {sex: sum(int(n) for n in re.findall(rf"(\d+) {noun}", text.split(" Her mother")[0])) for sex, noun in SIBLINGS}
    own["female"] += 1
    children = {sex: sum(int(n) for n in re.findall(rf"(\d+) {noun}", text)) for sex, noun in CHILDREN}
    if together := re.findall(r"(\d+) nephews and nieces", text):
        return cousins(sum(own.values()), *map(int, together), sum(children.values()))
    kin = {sex: [int(n) for n in re.findall(rf"(\d+) {noun}", text)] for sex, noun in NEPHEWS}
    apart = {sex: cousins(own[sex], *kin[sex], children[sex]) for sex in own}
    return apart["male"] if "male cousins" in text else sum(apart.values())


SIBLINGS = (("female", "sister"), ("male", "brother"))
CHILDREN = (("female", "daughter"), ("male", "son"))
NEPHEWS = (("female", "niece"), ("male", "nephew"))


@pytest.mark.skipif(not DATA.is_file(), reason="the real prompts are not here: set NANO_R1_TEST_DATA")
def test_the_formulas_answer_the_papers_prompts() -> None:
    rows: list[dict[str, Any]] = json.loads(DATA.read_text())
    answers = {row["id"]: answer_of(problem_of(row["prompt"])) for row in rows if row["right_answer"] is not None}
    wrong = {row["id"]: (row["right_answer"], answers[row["id"]], problem_of(row["prompt"])) for row in rows if answers.get(row["id"]) is not None and str(answers[row["id"]]) != str(row["right_answer"])}
    assert wrong == {}
