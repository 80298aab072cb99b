"""Kill verifications and appends with SIGKILL at random moments, and look at what is left.

    python scripts/attack/kills.py [--kills 200] [--seed 0]

Three kills in ten hit a process that verifies (a tiny track; sandbox, journal and ledger are the real ones) or that
resumes a session that was killed before; the others hit a process that appends to a ledger in a loop. The moment
is uniform over the measured duration of the operation. After each kill:

- `check` finds nothing wrong before a repair but the append that was under way, and nothing at all after it;
- the index begins with all that it held before, and every append that had returned is in it;
- every run that the journal had kept is still there, byte for byte, and at last in the record, as it was;
- no process of the killed one's sandbox is alive.

Exits with 1 on any violation. Needs bubblewrap and cgroups, and writes to a temporary folder only.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from harness.isolation import sandbox
from harness.ledger.check import check
from harness.ledger.index import HEAD
from harness.ledger.store import Ledger
from harness.tracks.track import ROOT
from harness.verify.journal import Journal, RunResult, journals
from harness.verify.reporter import TerminalReporter
from harness.verify.session import remove_stale_journals

sys.path.append(str(ROOT / "tests"))
import forked
import tiny  # the tiny track lives with the tests

SURVIVAL_SECONDS = 0.5  # how long after its verifier a sandbox may take to die; later, the next verifier would kill it
TRAINING_SECONDS = 0.5
SESSIONS_PER_LEDGER = 8  # a ledger takes nine records of one name a day
KILLS_PER_LEDGER = 20  # each append reads the whole log: a long one would slow the others down


@dataclass
class Tally:
    """What happened. `violations`: a sentence each."""

    kills: Counter[str] = field(default_factory=Counter)  # by what the process was doing
    left: Counter[str] = field(default_factory=Counter)  # by what the kill left of the append, before the repair
    closed: int = 0  # sessions
    unannounced: int = 0  # sessions that were killed too early to be one
    resumes: int = 0  # of the sessions that closed, as their records count them
    kept: int = 0  # finished runs that stood in a journal when its verifier was killed
    appends: int = 0  # that had returned when their process was killed
    sandboxes: int = 0  # that were alive when their verifier was killed
    slowest_death_s: float = 0.0
    violations: list[str] = field(default_factory=list)

    def require(self, condition: bool, violation: str) -> None:
        if not condition:
            self.violations.append(violation)


class WatchedLedger:
    """A ledger, and what its index held when it was last inspected."""

    def __init__(self, folder: Path) -> None:
        self.ledger, self._index = Ledger(folder), b""

    def inspect(self, tally: Tally, done: set[str]) -> None:
        """Check, repair, check. `done`: paths of entries whose append had returned."""
        folder = self.ledger.folder
        unfinished = {name for name in (".next", ".next.tmp") if (folder / name).exists()}
        tally.left[", ".join(sorted(unfinished)) or "nothing"] += 1
        for result in [result for result in check(folder) if not result.ok]:
            # A piece that has left .next for its place is in no line yet, or the line not yet in the checkpoint.
            piece = ".next" in unfinished and (result.check == "unlisted" or result.file in HEAD)
            tally.require(piece or result.file in unfinished, f"before the repair, {result.file}: {result.message}")
        self.ledger.entries()  # raises if a reader is stopped by what the writer left
        tally.require(
            self.ledger.repair() == bool(unfinished), f"{folder}: the repair did not see {unfinished or 'nothing'}"
        )
        for result in check(folder):
            tally.require(result.ok, f"after the repair, {result.file}: {result.message}")
        index = (folder / "index").read_bytes() if (folder / "index").exists() else b""
        tally.require(index.startswith(self._index), f"{folder}/index lost a line")
        self._index = index
        missing = done - {entry.path for entry in self.ledger.entries()}
        tally.require(not missing, f"{folder}: the appends of {sorted(missing)} had returned, and are not there")


# ---------------------------------------------------------------- verifications


def kill_sessions(place: Path, kills: int, rng: random.Random, tally: Tally, advance: Callable[[], None]) -> None:
    """Begin sessions, kill them again and again until they close; the last one is left to close."""
    tiny.build_place(place, TRAINING_SECONDS)
    for name in ("warm", "timed"):  # the first one waits for torch to be imported
        duration = _run(place, Ledger(place / f"records-{name}"), None, None, tally)
    workspaces: set[str] = set()
    killed = number = 0
    while killed < kills and len(tally.violations) < 20:  # enough to see that something is wrong
        if number % SESSIONS_PER_LEDGER == 0:
            watched = WatchedLedger(place / f"records-{number}")
        number += 1
        older = {entry.path for entry in watched.ledger.entries()}
        entry: str | None = None
        kept: dict[str, bytes] = {}
        while True:
            after = rng.uniform(0, duration) if killed < kills else None
            seconds = _run(place, watched.ledger, entry, after, tally)
            watched.inspect(tally, set())
            if seconds is None:
                killed += 1
                advance()
            entry = entry or _announced(watched.ledger, older)
            if entry is None or entry not in {announcement.id for announcement in watched.ledger.open_announcements()}:
                break
            if seconds is not None:
                tally.violations.append(f"{entry} is still open, though its process ended by itself")
                break
            journal = Journal(tiny.state_folder(place), entry).folder
            runs = {path.name: path.read_bytes() for path in journal.glob("run-*.json")}
            tally.kept += len(runs)
            lost = sorted(name for name, data in kept.items() if runs.get(name) != data)
            tally.require(not lost, f"{entry}: {lost} had been kept, and were lost or changed")
            kept = runs
            if (journal / "workspace").exists():
                workspaces.add((journal / "workspace").read_text(encoding="utf-8"))
        if entry is None:
            tally.unannounced += 1
        else:
            _compare(watched.ledger, entry, kept, tally)
    for folder in place.glob("records-*"):
        remove_stale_journals(tiny.state_folder(place), Ledger(folder), TerminalReporter(quiet=True))
    tally.require(not journals(tiny.state_folder(place)), f"sessions were left behind in {tiny.state_folder(place)}")
    for workspace in workspaces:
        tally.require(not Path(workspace).exists(), f"{workspace} was left behind")


def _run(place: Path, ledger: Ledger, entry: str | None, after: float | None, tally: Tally) -> float | None:
    """Verify, or resume `entry`. Returns the seconds it took, or None: killed `after` so many."""
    steps = place / "steps"
    steps.unlink(missing_ok=True)
    process = forked.Process(target=tiny.run_session, args=(place, ledger.folder, ["one"], entry, steps))
    start = time.monotonic()
    process.start()
    process.join(after)
    killed_at, sandboxes = time.monotonic(), tiny.sandboxed_processes(process.pid)
    if process.exitcode is None:
        process.kill()
        process.join()
    if process.exitcode != -signal.SIGKILL:
        tally.require(process.exitcode == 0, f"the verification of {entry or 'a new session'} failed")
        return killed_at - start
    tally.sandboxes += bool(sandboxes)
    while (alive := tiny.sandboxed_processes(process.pid)) and time.monotonic() < killed_at + SURVIVAL_SECONDS:
        time.sleep(0.01)
    if sandboxes:
        tally.slowest_death_s = max(tally.slowest_death_s, time.monotonic() - killed_at)
    tally.require(not alive, f"processes {alive} of a sandbox outlived their verifier")
    tally.kills[_activity(steps.read_text(encoding="utf-8").splitlines() if steps.exists() else [])] += 1
    return None


def _activity(lines: list[str]) -> str:
    """What the process was doing, from the steps that it reported."""
    last = lines[-1] if lines else ""
    if last.startswith("rename"):
        return "verify: keeping a run" if "/state/" in last else "verify: appending to the ledger"
    if not any(line.startswith(("say announced", "say resuming")) for line in lines):
        return "verify: starting, proving isolation"
    if last.startswith(("begin", "advance")):
        return "verify: training" if last.endswith("train") else "verify: evaluating"
    return "verify: between two steps"


def _announced(ledger: Ledger, older: set[str]) -> str | None:
    """The session that was announced since the ledger held the entries `older`."""
    paths = [entry.path for entry in ledger.entries() if entry.folder == "log" and entry.path not in older]
    return Path(paths[0]).stem if paths else None


def _compare(ledger: Ledger, entry: str, kept: dict[str, bytes], tally: Tally) -> None:
    """Does the session's record hold every run that was kept before the last kill, as it was?"""
    predicates = [logged.record.predicate for logged in ledger.records()]
    predicates = [predicate for predicate in predicates if predicate.commitment.entry == entry]
    tally.require(len(predicates) == 1, f"{entry} ended in {len(predicates)} records, not one")
    for predicate in predicates:
        tally.closed += 1
        tally.resumes += predicate.resumed or 0
        for name, data in kept.items():
            arm, run = (int(part) for part in name.removesuffix(".json").split("-")[1:])
            result = RunResult.model_validate_json(data)
            if arm == 0:
                same = predicate.reference.wall_ms[run] == result.wall_ms
            else:
                same = predicate.all_runs[run] == result.run
            tally.require(same, f"{entry}: {name} is not what the record holds")


# ---------------------------------------------------------------- appends


def kill_appends(place: Path, kills: int, rng: random.Random, tally: Tally, advance: Callable[[], None]) -> None:
    """Kill a process that appends, during one of its first five appends."""
    template = next(path.parent for path in place.glob("records-timed/*/record.json"))
    seconds = 0.1  # the first guess; then what the latest append took
    for kill in range(kills):
        if kill % KILLS_PER_LEDGER == 0:
            watched = WatchedLedger(place / f"appended-{kill}")
        reader, writer = forked.CONTEXT.Pipe(duplex=False)
        arguments = (place / "key", watched.ledger.folder, template, 1000 * kill, writer)
        process = forked.Process(target=tiny.append_forever, args=arguments)
        process.start()
        writer.close()
        done: set[str] = set()
        for _ in range(rng.randint(1, 4)):
            path, seconds = reader.recv()
            done.add(path)
        time.sleep(rng.uniform(0, seconds))
        process.kill()
        process.join()
        while True:
            try:
                done.add(reader.recv()[0])
            except (EOFError, OSError):  # OSError: killed in the middle of writing
                break
        reader.close()
        tally.kills["append"] += 1
        tally.appends += len(done)
        watched.inspect(tally, done)
        advance()


# ---------------------------------------------------------------- both


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    isolation = sandbox.isolation()
    if isolation.level != "full":
        sys.stderr.write(f"kills.py: no sandbox to kill here: {'; '.join(isolation.reasons)}\n")
        raise SystemExit(2)
    rng, tally, start = random.Random(options.seed), Tally(), time.monotonic()
    sessions = max(1, round(options.kills * 0.3))
    with tempfile.TemporaryDirectory(prefix="nano-r1-kills-") as work, Progress(console=Console(stderr=True)) as bar:
        for label, kills, kill in (
            ("verifications", sessions, kill_sessions),
            ("appends", options.kills - sessions, kill_appends),
        ):
            kill(Path(work), kills, rng, tally, partial(bar.advance, bar.add_task(label, total=kills)))
    show(tally, options.seed, time.monotonic() - start)
    if tally.violations:
        raise SystemExit(1)


def show(tally: Tally, seed: int, seconds: float) -> None:
    out = Console(highlight=False, soft_wrap=True)
    table = Table("killed while it was", "kills", title=f"seed {seed}", title_justify="left")
    for activity, number in sorted(tally.kills.items()):
        table.add_row(activity, str(number))
    table.add_section()
    table.add_row("all", str(tally.kills.total()))
    out.print(table)
    out.print(
        f"sessions closed with a record: {tally.closed}, after {tally.resumes} resumes that began a run or a closing"
    )
    out.print(f"killed before anything was announced: {tally.unannounced}")
    out.print(
        f"finished runs in the journal at a kill: {tally.kept}; appends that had returned at a kill: {tally.appends}"
    )
    out.print(f"left in the ledger: {', '.join(f'{what} {number}' for what, number in sorted(tally.left.items()))}")
    out.print(f"sandboxes alive at a kill: {tally.sandboxes}; the last was gone {tally.slowest_death_s:.2f} s after it")
    for sentence in tally.violations:
        out.print(f"VIOLATION: {sentence}", markup=False)
    out.print(f"{len(tally.violations)} violations in {seconds:.0f} s")


if __name__ == "__main__":
    main()
