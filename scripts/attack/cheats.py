"""The cheat corpus through the real verifier: sandbox, socket, evaluation, ledger; only the sizes are small.

    python scripts/attack/cheats.py                    all cases, as a Markdown table; exit code 1 if one is wrong
    python scripts/attack/cheats.py --quick            one case for each defence
    python scripts/attack/cheats.py daemon nan         these only
    python scripts/attack/cheats.py --page             all cases; the table goes into docs/cheats.md
    python scripts/attack/cheats.py --json FILE ...    all results, for tests/test_cheats.py

Each folder of tests/cheats is a submission that tries one attack. tests/cheats/cases.toml says, one table per case:

    attack, defence   one line each, for docs/cheats.md
    verdict           what must become of it:
                      "no record: TEXT"  the verification is abandoned, for a reason that contains TEXT
                      "not valid: TEXT"  there is a record, and one of its reasons contains TEXT
                      "refused: TEXT"    it is not even started: the folder is no submission
                      "harmless"         there is a record, nothing but accuracy and the number of runs is held
                                         against it, and the held-out answers are those of `weights`
                      "honest"           the same, for a control that is no attack
    tried             texts that the log of every run must have: what fails silently must show that it was tried,
                      and how it ended. A line "TRIED ...: done" says that an attack worked and is never right.
    never             texts that no log may have
    weights           "base" (as the track has them; the default) or "own"
    queries, correct  completions graded in each run, and how many of them the harness graded right
    min_wall_ms       what each run must have been billed at least
    seconds           the budget; default 60
    cores             the track's; default 2
    runs              how many; default 1. With more, what counts is whether runs are told apart, so the verifier also
                      makes the control run.
    track             "small" (default) or "full": the track as it is, the real baseline, every question
    source            a recorded submission, taken instead of a folder here and cut to one step of eight questions
    slow              takes more than five seconds: left out by `pytest -m "not slow"`
    alone             wants the machine for itself: left out by scripts/test, run by .ci/run
    xfail             why it is not as expected, known
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import re
import resource
import secrets
import shutil
import sys
import tempfile
import threading
import time
import tomllib
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pages

from harness import submission
from harness.board.render import rendered
from harness.engines.transformers import generate
from harness.environment.server import Environment
from harness.evaluation.gated import questions
from harness.frozen.keys import derive
from harness.isolation import doctor, sandbox
from harness.ledger import record
from harness.ledger.check import check
from harness.ledger.signature import Key, load_key
from harness.ledger.signature import generate as generate_key
from harness.ledger.store import Ledger
from harness.tracks import rules
from harness.tracks.schema import Baseline
from harness.tracks.track import ROOT, Track, load
from harness.verify import run as training
from harness.verify.close import Outcome
from harness.verify.session import Verifier, verify

CHEATS = ROOT / "tests" / "cheats"
PAGE = ROOT / "docs" / "cheats.md"
CANARY = "NANO_R1_CANARY"  # stands in the verifier's environment, and its value also in its arguments

# Learns nothing: asks, answers with an empty completion, hands in the base model as it is.
BASELINE = """
import shutil
from harness.client import connect

run = connect()
print([s.correct for s in run.score([(p.id, [run.end_token_id]) for p in run.prompts(4)])])
shutil.copyfile(run.base / "model.safetensors", run.output / "model.safetensors")
"""

# What may be held against a harmless submission: that it learnt nothing, and that so few runs support no test.
ALLOWED = re.compile(
    r"accuracy [0-9.]+ is not above the gate|\d runs? of the \d that the track asks for|there is no control run"
)


def held_against(reasons: list[str]) -> list[str]:
    """Those not ALLOWED. Where runs learnt nothing on a task, a control run may be as good: that is allowed too."""
    learnt_nothing = {f"control run: {reason.split()[0]} " for reason in reasons if "is not above the gate" in reason}
    learnt_nothing.discard("control run: mean ")
    return [r for r in reasons if not ALLOWED.search(r) and not r.startswith(tuple(learnt_nothing))]


@dataclass(frozen=True)
class Case:
    name: str
    attack: str
    verdict: str
    defence: str = "–"
    tried: list[str] = field(default_factory=list)
    never: list[str] = field(default_factory=list)
    weights: str = "base"
    queries: int | None = None
    correct: int | None = None
    min_wall_ms: int = 0
    seconds: int = 60
    cores: int = 2
    runs: int = 1
    track: str = "small"
    source: str | None = None
    slow: bool = False
    alone: bool = False
    xfail: str | None = None

    @property
    def session(self) -> tuple[str, int, int, int]:
        """Cases that agree in this are verified in one session."""
        return self.track, self.seconds, self.cores, self.runs


@dataclass
class CaseResult:
    """The outcome of one case. `problems` is empty when all is as expected."""

    got: str = ""
    problems: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)  # of each run
    control_logs: list[str] = field(default_factory=list)  # of the control run, whose scores mean nothing
    wall_ms: list[int] = field(default_factory=list)


class MessageKeeper:
    """A reporter that keeps the messages that would have been shown."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def begin(self, arm: str, run: int, phase: str, total: float) -> None: ...
    def advance(self, done: float, note: str) -> None: ...
    def finished(self, seconds: float) -> None: ...

    def say(self, text: str) -> None:
        self.messages.append(text)


def cases() -> list[Case]:
    return [
        Case(name, **row) for name, row in tomllib.loads((CHEATS / "cases.toml").read_text(encoding="utf-8")).items()
    ]


def representatives() -> list[Case]:
    """The first case of each defence; those that are no attack meet none."""
    attacks = [case for case in cases() if case.defence != "–"]
    return list({case.defence: case for case in reversed(attacks)}.values())[::-1]


# ---------------------------------------------------------------- one session


def small(seconds: int, cores: int, folder: Path) -> Track:
    """The CPU track with two questions a task, a baseline of a second, less memory, fewer queries and a preload.

    With two questions chance would fail the control run: that it fails those it should is for the full track to show.
    """
    track, home = load("cpu-logic"), folder / f"quick-{seconds}"
    home.mkdir(exist_ok=True)
    (home / "train.py").write_text(BASELINE, encoding="utf-8")
    (home / "submission.toml").write_text(
        f'name = "{home.name}"\ntrack = "cpu-logic"\ntitle = "quick"\nchange = "none"\ncontributors = ["tests"]\n',
        encoding="utf-8",
    )
    baseline = Baseline(folder=str(home), tree_sha256=submission.load(home).tree_sha256)
    gated = [suite for suite in track.heldout.suites if suite.gate_ppm is not None]
    suites = [suite.model_copy(update={"questions": 2, "gate_ppm": 1_000_001}) for suite in gated]
    budget = {"seconds": seconds, "memory_bytes": 1 << 30, "reward_queries": 20_000, "preload": ["colorsys"]}
    return track.model_copy(
        update={
            "baseline": baseline,
            "heldout": track.heldout.model_copy(update={"suites": suites, "control_ppm": 1_000_001}),
            "budget": track.budget.model_copy(update=budget),
            "hardware": track.hardware.model_copy(update={"cores": cores}),
        }
    )


def folder_of(case: Case, work: Path) -> Path:
    if case.source is None:
        return CHEATS / case.name
    home = work / case.name
    shutil.copytree(ROOT / case.source, home)
    program, manifest = home / "train.py", home / "submission.toml"
    short = re.sub(r"(?m)^STEPS = \d+", "STEPS = 1", program.read_text(encoding="utf-8"))
    program.write_text(re.sub(r"(?m)^PROMPTS = \d+", "PROMPTS = 8", short), encoding="utf-8")
    manifest.write_text(
        re.sub(r"(?m)^name = .*", f'name = "{case.name}"', manifest.read_text(encoding="utf-8")), encoding="utf-8"
    )
    return home


def run_session(
    group: list[Case], work: Path, ledger: Ledger, key: Key, canary: str, messages: list[str]
) -> dict[str, CaseResult]:
    """Verify the cases of one session together, and judge each. What the verifier shows is added to `messages`."""
    first = group[0]
    track = small(first.seconds, first.cores, work) if first.track == "small" else load("cpu-logic")
    results = {case.name: CaseResult() for case in group}
    items = []
    for case in group:
        try:
            items.append(submission.load(folder_of(case, work)))
        except submission.SubmissionError as error:
            results[case.name].got = f"refused: {error}"
    usages: dict[str, list[sandbox.Usage]] = defaultdict(list)
    reporter = MessageKeeper()
    if items:
        with keeping_logs(usages):
            verifier = Verifier(ledger, key, work / "state", reporter, threading.Event())
            outcomes = verify(track, items, verifier, runs=first.runs, control=first.runs > 1)
        messages += reporter.messages
        statements = {o.name: record.load((o.folder / "record.json").read_bytes()) for o in outcomes if o.folder}
        hidden = [canary, (work / "key").read_text(encoding="utf-8").splitlines()[1], *_secrets(statements)]
        plain = [s for name, s in statements.items() if by_name(group, name).weights == "base"]
        honest_answers = answers(track, plain)
        for outcome in outcomes:
            result = results[outcome.name]
            result.logs = [usage.log.decode(errors="replace") for usage in usages[outcome.name]]
            result.control_logs = [usage.log.decode(errors="replace") for usage in usages[f"{outcome.name} control"]]
            result.wall_ms = [usage.wall_ms for usage in usages[outcome.name]]
            if outcome.verdict is None:
                result.got = f"no record: {outcome.reason}"
            else:
                bad = held_against(outcome.verdict.reasons)
                result.got = f"not valid: {'; '.join(bad)}" if bad else "harmless"
                _judge_record(by_name(group, outcome.name), result, track, outcome, statements, honest_answers)
            written = "".join(result.logs + result.control_logs)
            result.problems += [f"a secret is in the log: {text[:12]}…" for text in hidden if text in written]
    for case in group:
        _judge(case, results[case.name])
    return results


def by_name(group: list[Case], name: str) -> Case:
    return next(case for case in group if case.name == name)


class keeping_logs:
    """While it lasts, the log of every run in a sandbox is kept: an abandoned verification keeps none."""

    def __init__(self, usages: dict[str, list[sandbox.Usage]]) -> None:
        self._usages, self._run, self._environment = usages, sandbox.run, training.Environment
        self._control = False

    def __enter__(self) -> None:
        def environment(*args: Any, **more: Any) -> Environment:
            self._control = more.get("control") is not None
            return self._environment(*args, **more)

        def run(argv: list[str], *, mounts: sandbox.Mounts, **more: Any) -> sandbox.Usage:
            manifest = mounts.submission / "submission.toml"
            usage = self._run(argv, mounts=mounts, **more)
            if manifest.exists():  # else it is the doctor
                name: str = tomllib.loads(manifest.read_text(encoding="utf-8"))["name"]
                self._usages[f"{name} control" if self._control else name].append(usage)
            return usage

        sandbox.run, training.Environment = run, environment  # type: ignore[assignment, misc]

    def __exit__(self, *_: object) -> None:
        sandbox.run, training.Environment = self._run, self._environment  # type: ignore[misc]


def _secrets(statements: dict[str, record.Record]) -> list[str]:
    """What the session's submissions must not have learnt, in hex: the root, the nonce, the keys of questions."""
    secret_texts = set()
    for statement in statements.values():
        commitment, tree = statement.predicate.commitment, statement.predicate.submission.tree_sha256
        secret_texts |= {commitment.root_hex, commitment.nonce_hex}
        for purpose in ("heldout", "train"):
            secret_texts.add(derive(bytes.fromhex(commitment.root_hex), purpose, tree, 0).hex())
    return sorted(secret_texts)


def answers(track: Track, statements: list[record.Record]) -> dict[str, list[list[list[int]]]]:
    """What the base model answers to the questions of each record's runs, under the track's own settings."""
    grader, prompts = rules.grader(track), []
    for statement in statements:
        for run in statement.predicate.runs:
            root = bytes.fromhex(statement.predicate.commitment.root_hex)
            key = derive(root, "heldout", statement.predicate.submission.tree_sha256, run.run)
            prompts += [grader.prompt_ids(item) for item in questions(track, key)]
    if not prompts:
        return {}
    weights = (track.base_folder / "model.safetensors").read_bytes()
    done = iter(generate(
        track.base_folder, weights, prompts,
        end_id=grader.end_id, max_new_tokens=track.sampling.max_new_tokens, batch=track.sampling.batch,
    ))  # fmt: skip
    size = sum(suite.questions for suite in track.heldout.suites)
    return {
        statement.predicate.submission.name: [[next(done) for _ in range(size)] for _ in statement.predicate.runs]
        for statement in statements
    }


# ---------------------------------------------------------------- is it as expected?


def _judge_record(
    case: Case,
    result: CaseResult,
    track: Track,
    outcome: Outcome,
    statements: dict[str, record.Record],
    honest_answers: dict[str, list[list[list[int]]]],
) -> None:
    """What the record says of the runs, against what the case asks for."""
    assert outcome.folder is not None
    runs = statements[case.name].predicate.runs
    if case.weights == "base":
        if {run.weights_sha256 for run in runs} != {track.base.files["model.safetensors"]}:
            result.problems.append("the weights are not the base model's")
        lines = lzma.decompress((outcome.folder / "completions.jsonl.xz").read_bytes()).splitlines()
        if [json.loads(line)["completions"] for line in lines][: len(runs)] != honest_answers[case.name]:
            result.problems.append("the held-out answers are not those of the weights under the track's settings")
    if case.queries is not None and {run.reward_queries for run in runs} != {case.queries}:
        result.problems.append(f"queries: {[run.reward_queries for run in runs]}, expected {case.queries}")
    if case.correct is not None:
        lines = lzma.decompress((outcome.folder / "curves.jsonl.xz").read_bytes()).splitlines()
        points = [point for line in lines if (point := json.loads(line))["run"] < len(runs)]
        if (right := sum(point["correct"] for point in points)) != case.correct * len(runs):
            result.problems.append(f"graded right by the harness: {right}, expected {case.correct}")
    if short := [run.wall_ms for run in runs if run.wall_ms < case.min_wall_ms]:
        result.problems.append(f"billed {short} ms, expected {case.min_wall_ms} or more")


def _judge(case: Case, result: CaseResult) -> None:
    kind, _, text = case.verdict.partition(": ")
    expected = "harmless" if kind == "honest" else kind
    if result.got.partition(": ")[0] != expected or text not in result.got:
        result.problems.insert(0, f"got {result.got!r}")
    if expected == "refused":
        return
    # A run that is expected to fail ends the verification, and the control run may have come first; otherwise all
    # of them have a log.
    logs = result.logs + result.control_logs if expected == "no record" else result.logs
    if len(logs) != (1 if expected == "no record" else case.runs):
        result.problems.append(f"{len(logs)} runs")
    for log in logs:
        result.problems += [f"the log lacks {text!r}" for text in case.tried if text not in log]
        result.problems += [f"the log has {text!r}" for text in case.never if text in log]
        result.problems += [f"an attack worked: {line}" for line in re.findall(r"(?m)^TRIED .*: done.*$", log)]


# ---------------------------------------------------------------- all of them


def run_all(chosen: list[Case], canary: str) -> dict[str, Any]:
    """Verify these cases, session by session, into one ledger. Returns what tests/test_cheats.py looks at."""
    started, opened = time.monotonic(), len(os.listdir("/proc/self/fd"))
    results: dict[str, CaseResult] = {}
    messages: list[str] = []
    with tempfile.TemporaryDirectory(prefix="nano-r1-cheats-") as name:
        work = Path(name)
        work.chmod(0o755)
        (work / "note").write_text(canary, encoding="utf-8")
        generate_key(work / "key", "tester")
        ledger, key = Ledger(work / "records"), load_key(work / "key")
        doctor.isolation_checks = cache(doctor.isolation_checks)  # asked once for all sessions: two seconds each
        for _, group in groupby(sorted(chosen, key=lambda case: case.session), key=lambda case: case.session):
            results |= run_session(list(group), work, ledger, key, canary, messages)
        board = rendered(ledger.folder) if ledger.folder.exists() else {}
        faults = [str(finding) for finding in check(ledger.folder) if not finding.ok] if board else []
        faults += [f"{entry.id} is still open" for entry in ledger.open_announcements()] if board else []
    return {
        "cases": {name: asdict(result) for name, result in results.items()},
        "messages": messages,
        "pages": {name: page.decode() for name, page in board.items()},
        "ledger_faults": faults,
        "descriptors_left": len(os.listdir("/proc/self/fd")) - opened,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "seconds": round(time.monotonic() - started),
    }


def table(chosen: list[Case], results: dict[str, Any]) -> str:
    """Markdown: attack, defence, expected, got."""
    rows = []
    for case in chosen:
        result = results["cases"][case.name]
        state = re.sub(r"/\S*/|, on [0-9.]+ of [0-9]+ cores.*", "", result["got"])[:160]  # nothing of this machine
        if result["problems"]:
            state = f"as known: {case.xfail}" if case.xfail else f"**{'; '.join(result['problems'])[:300]}**"
        rows.append([f"`{case.name}`", case.attack, case.defence, case.verdict, state])
    return "\n".join(pages.table(["case", "attack", "defence", "expected", "got"], rows)) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the cheat corpus.")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--quick", action="store_true", help="one case for each defence")
    parser.add_argument("--page", action="store_true", help="write the table into docs/cheats.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results")
    parser.add_argument("--canary", help=argparse.SUPPRESS)  # given by this program to itself
    args = parser.parse_args()
    if args.canary is None:  # start again with a secret where secrets have no business to be found
        canary = f"canary-{secrets.token_hex(12)}"
        again = [sys.executable, __file__, *sys.argv[1:], f"--canary={canary}"]
        # One thread for the evaluation of eight questions: more would wait for each other.
        os.execve(sys.executable, again, {**os.environ, CANARY: canary, "OMP_NUM_THREADS": "1"})
    every = {case.name: case for case in cases()}
    if unknown := set(args.names) - set(every):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    chosen = [every[name] for name in args.names] or (representatives() if args.quick else cases())
    results = run_all(chosen, args.canary)
    if args.json:
        args.json.write_text(json.dumps(results), encoding="utf-8")
    rows = table(chosen, results)
    print(rows)
    wrong = [case.name for case in chosen if results["cases"][case.name]["problems"] and not case.xfail]
    peak = results["peak_memory_mib"]
    total = f"{len(chosen)} cases in {results['seconds']} s, {len(wrong)} not as expected"
    print(f"{total}; the verifier took {peak} MiB")
    if args.page:
        pages.write_section(PAGE, "cases", f"{rows}\n{total}.\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
