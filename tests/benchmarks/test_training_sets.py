"""Training sets as tasks: handed out over the real socket, graded strictly, pinned in the digest, refused if absent."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_standin import Hub, parquet, reached, serve
from real_data import needs, whole
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from harness.benchmarks import TRAINING_SETS, Question, suites, training_sets
from harness.benchmarks.pinned import read
from harness.benchmarks.training_sets import TrainingSetError
from harness.cli import tasks as tasks_commands
from harness.client import connect
from harness.environment.server import Environment
from harness.frozen.draw import Stream, Task, sample, split_of
from harness.frozen.format import Sample, score
from harness.tasks import GENERATED, TASKS
from harness.tracks import files
from harness.tracks.files import TRACKS
from harness.tracks.track import ROOT, Track, TrackError, load, names

KEY = b"tests of training sets"
COLUMNS = ("question", "answer")


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    training_sets.questions.cache_clear()
    yield
    training_sets.questions.cache_clear()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with reached(monkeypatch, tmp_path) as standin:
        yield standin


def publish(hub: Hub, monkeypatch: pytest.MonkeyPatch, name: str, rows: list[dict[str, object]]) -> None:
    """These rows in the place of the set's own, and pinned as it is."""
    serve(hub, monkeypatch, name, parquet(rows), rows=len(rows))


@pytest.fixture
def gsm8k(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its 7,473 real questions."""
    publish(hub, monkeypatch, "gsm8k-train", list(read(whole("gsm8k_train.jsonl"), COLUMNS)))


MATHS = [
    {"problem": f"What is ${n}/7$ in lowest terms?", "level": "Level 1", "type": "Algebra",
     "solution": f"So \\boxed{{\\frac{{{n}}}{{7}}}}."}
    for n in range(1, 60)
]  # fmt: skip


def bytewise(folder: Path) -> None:
    """A tokenizer for any text, one byte per token."""
    vocabulary = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>", "<|pad|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<|pad|>"}), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"vocab_size": tokenizer.get_vocab_size()}), encoding="utf-8")


def registered(name: str) -> Task:
    training_sets.register(name)
    return TASKS[name]


def trained_on(*tasks: str, folder: Path) -> Track:
    track = load("cpu-logic")
    for name in {*tasks} & {*TRAINING_SETS}:
        training_sets.register(name)
    train = track.train.model_copy(update={"tasks": list(tasks)})
    base = track.base.model_copy(
        update={"folder": str(folder), "template": "{prompt}\n", "end_token": "<|end|>", "files": {}}
    )
    return track.model_copy(update={"train": train, "base": base})


# ---------------------------------------------------------------- handed out and graded


@needs("gsm8k_train.jsonl")
def test_prompts_go_out_and_answers_stay(gsm8k: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bytewise(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    end = tokenizer.token_to_id("<|end|>")
    known = {question.prompt: question for question in training_sets.questions("gsm8k-train")}
    track = trained_on("gsm8k-train", "nim", folder=tmp_path)
    track.check_base()
    monkeypatch.setenv("NANO_R1_SOCKET", str(tmp_path / "s"))
    with Environment(track, KEY, 1, tmp_path / "s", "/base", "/output", lambda: 0) as environment:
        run = connect()
        prompts = run.prompts(200)
        assert [prompt.task for prompt in prompts[:4]] == ["gsm8k-train", "nim", "gsm8k-train", "nim"]
        asked, completions = [], []
        for prompt in prompts[::2]:
            question, form = tokenizer.decode(prompt.token_ids).rstrip("\n").rsplit("\n\n", 1)
            assert form == "The answer is an integer in digits."
            asked.append(known[question])
            for answer in (known[question].target, str(int(known[question].target) + 1)):
                text = f"<think>so</think><answer>{answer}</answer>"
                completions.append((prompt.id, [*tokenizer.encode(text).ids, end]))
        scores = run.score(completions)
        assert [each.correct for each in scores] == [True, False] * 100
        assert all(each.formatted for each in scores)
        assert environment.fault is None
    assert len({question.id for question in asked}) > 90
    task = registered("gsm8k-train")
    sides = [split_of(task.name, sample(task, KEY, "train", index).prompt) for index in range(50)]
    assert 5 < sides.count("heldout") < 25  # of a published set all is trained on


@needs("gsm8k_train.jsonl")
def test_every_question_can_be_drawn_and_the_key_says_which(gsm8k: None) -> None:
    task = registered("gsm8k-train")
    drawn = [task.draw(Stream(KEY, f"{i}/")) for i in range(60_000)]
    met = {metadata["id"] for _, _, metadata in drawn}
    assert task.distinct == 7473 and len(met) > 0.999 * task.distinct
    assert all(task.accepts(Sample("", prompt, gold, facts), gold) for prompt, gold, facts in drawn)
    assert drawn[:20] == [task.draw(Stream(KEY, f"{i}/")) for i in range(20)]


def test_more_questions_than_a_stream_can_tell_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [Question(f"q/{i}", str(i), "1", grader="integer") for i in range(150_000)]
    monkeypatch.setattr(training_sets, "questions", lambda name: many)
    task = registered("openr1-math")
    numbers = [int(task.draw(Stream(KEY, f"{i}/"))[2]["id"].partition("/")[2]) for i in range(4000)]
    assert max(numbers) > 149_000 and min(numbers) < 1000
    thirds = [sum(n // 50_000 == third for n in numbers) / len(numbers) for third in range(3)]
    assert all(abs(share - 1 / 3) < 0.03 for share in thirds)


def test_latex_is_graded_by_normal_form(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(hub, monkeypatch, "math-train", MATHS)
    task = registered("math-train")
    one = sample(task, KEY, "train", 0)
    assert one.prompt.endswith("\n\nThe answer is LaTeX, simplified.") and one.metadata["level"] == "Level 1"
    bare = one.target.removeprefix("\\boxed{").removesuffix("}")
    for answer, right in ((bare, True), (f"\\boxed{{{bare}}}", True), ("\\frac{1}{113}", False)):
        assert score(task, one, f"<think></think><answer>{answer}</answer>").correct is right
    assert not any(task.accepts(one, attack) for attack in task.attacks(one))


# ---------------------------------------------------------------- tasks, but not generated ones


def test_a_training_set_is_no_generated_task_and_a_test_set_no_training_set() -> None:
    assert TRAINING_SETS == [
        "gsm8k-train", "math-train", "openr1-math", "openthoughts", "synthetic-1-math", "general-reasoning",
    ]  # fmt: skip
    assert not GENERATED.keys() & {*TRAINING_SETS}
    for name in ("gsm8k", "chess"):  # a test set is never trained on
        with pytest.raises(TrainingSetError, match=f"{name} is no training set"):
            training_sets.register(name)


READ = """
import sys
from harness.tasks import GENERATED, TASKS
from harness.tracks.track import load, names
assert TASKS == GENERATED
for track in map(load, names()):
    assert all(TASKS[name].name == name for name in track.tasks)
print(*(TASKS.keys() - GENERATED.keys()))
print(*(name for name in ("datasets", "harness.isolation", "torch", "transformers") if name in sys.modules))
"""


def test_reading_a_track_makes_its_training_sets_tasks_and_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", READ], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    registered, heavy = done.stdout.split("\n")[:2]
    trained_on = {name for track in map(load, names()) for name in track.train.sets}
    assert {*registered.split()} == trained_on and "gsm8k-train" in trained_on
    assert heavy == ""


@needs("gsm8k_train.jsonl")
def test_show_prints_a_set_as_it_is_asked(gsm8k: None, capsys: pytest.CaptureFixture[str]) -> None:
    tasks_commands.show("gsm8k-train", 2, "1xh100-smol", as_json=True)
    rows = json.loads(capsys.readouterr().out)["gsm8k-train"]
    assert len(rows) == 2
    for row in rows:
        assert (
            "<|im_start|>user\n" in row["prompt"] and "The answer is an integer in digits.<|im_end|>" in row["prompt"]
        )
        assert len(row["attacks"]) > 20 and row["target"] not in row["attacks"]


# ---------------------------------------------------------------- tracks


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """gpu-logic's, where it can be changed, with the sources of a track that trains on GSM8K."""
    sources = {*load("gpu-logic").sources, *load("1xh100-smol").sources, "benchmarks/openthoughts.py"}
    for name in [*sources, "tracks/gpu-logic.toml", "tracks/standing/sources.toml"]:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((TRACKS.parent / name).read_bytes())
    monkeypatch.setattr(files, "TRACKS", tmp_path / "tracks")
    return tmp_path / "tracks" / "gpu-logic.toml"


def training(toml: Path, tasks: str) -> Track:
    text = (TRACKS / "gpu-logic.toml").read_text(encoding="utf-8")
    head, rest = text.split("[train]\n")
    toml.write_text(f"{head}[train]\ntasks = {tasks}\n{rest.partition(chr(10))[2]}", encoding="utf-8")
    return load("gpu-logic")


def test_a_track_names_sets_and_suites(toml: Path) -> None:
    logic = ["countdown", "linear", "nim", "josephus"]
    assert training(toml, '["gsm8k-train", "logic"]').train.tasks == ["gsm8k-train", *logic]
    assert load("gpu-logic").train.sets == ["gsm8k-train"]
    for tasks, message in (
        ('["logic", "nim"]', "each once"),
        ("[]", "at least one task"),
        ('["maths"]', "'maths' has no generated task"),
        ('["gsm8k"]', "'gsm8k' has no generated task"),
        ('["chess"]', "no suite 'chess'"),
    ):
        with pytest.raises(TrackError, match=message):
            training(toml, tasks)


def test_a_published_set_cannot_gate(toml: Path) -> None:
    toml.write_text(
        toml.read_text(encoding="utf-8").replace('task = "nim"', 'task = "gsm8k-train"', 1), encoding="utf-8"
    )
    with pytest.raises(TrackError, match="'gsm8k-train' is no generated task, and only those are held out"):
        load("gpu-logic")


def test_the_digest_has_the_pin_and_needs_no_data(toml: Path) -> None:
    before = training(toml, '["gsm8k-train", "logic"]').digest
    sources = {*load("gpu-logic").sources}
    assert {"benchmarks/training_sets.py", "benchmarks/gsm8k.py", "benchmarks/pinned.py"} <= sources
    assert {"answers/integer.py", "answers/latex.py", "answers/choice.py", "answers/kind.py"} <= sources
    assert not {"answers/code.py", "answers/maths.py", "evaluation/questions.py"} & sources
    for name, changes in (("benchmarks/gsm8k.py", True), ("benchmarks/openthoughts.py", False)):
        source = toml.parents[1] / name
        text = source.read_bytes()
        source.write_bytes(text + b"limit = 1\n")
        assert (load("gpu-logic").digest != before) is changes
        source.write_bytes(text)


def test_what_is_missing_is_said_before_a_run(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bytewise(tmp_path)
    track = trained_on("math-train", folder=tmp_path)
    with pytest.raises(
        TrackError, match=r"trains on math-train, which cannot .*`nano-r1 tracks fetch cpu-logic` downloads"
    ):
        track.check_base()
    publish(hub, monkeypatch, "math-train", MATHS)
    track.check_base()


def test_a_set_with_nothing_to_hand_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_sets, "questions", lambda name: [])
    with pytest.raises(TrainingSetError, match="no question to hand out"):
        training_sets.ready("math-train")


def test_a_suite_in_another_order_is_another_track(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track = training(toml, '["logic"]')
    assert track.digest == load("gpu-logic").digest
    logic = suites.suites()["logic"]
    turned = {**suites.suites(), "logic": logic.model_copy(update={"tasks": logic.tasks[::-1]})}
    monkeypatch.setattr(suites, "suites", lambda: turned)
    assert load("gpu-logic").train.tasks == track.train.tasks[::-1]
    assert load("gpu-logic").digest != track.digest
