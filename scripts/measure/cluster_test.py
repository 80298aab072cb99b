"""One session on one node, on two, and on two of which one is killed: a real Ray cluster on this machine.

    python scripts/measure/cluster_test.py [--runs 5] [--page docs/measured/cluster.md]

A small track (tests/tiny.py's: two questions a task) whose trainers compute for two seconds and learn nothing; Ray,
sandbox, socket, evaluation, journal, ledger and audit are the real ones. Each node has a core and a loopback address.
`--page` writes the table into the page. Exits with 1 unless each session ends in a sound record whose verdict the audit
finds again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.ledger import record
from harness.ledger.store import Ledger
from harness.tracks.track import ROOT

sys.path += [str(ROOT / "tests"), str(ROOT / "scripts")]
import pages
import ray_nodes  # with the tests
import tiny

COMPUTES = """
import shutil, time
from harness.client import connect
run = connect()
run.score([(prompt.id, [run.end_token_id]) for prompt in run.prompts(4)])
while time.process_time() < 2:
    pass
shutil.copyfile(run.base / "model.safetensors", run.output / "model.safetensors")
"""


@dataclass
class TimedSession:
    """What came of one session. `seconds`: from the announcement to the record."""

    what: str
    seconds: float
    predicate: record.Predicate
    problems: list[str]

    @property
    def row(self) -> str:
        assert self.predicate.cluster is not None
        lost = [f"{run.submission} run {run.run + 1}: {run.reason}" for run in self.predicate.cluster.lost]
        nodes = sorted({*self.predicate.cluster.runs, *self.predicate.cluster.reference})
        made = [[*self.predicate.cluster.runs, *self.predicate.cluster.reference].count(name) for name in nodes]
        verdict = f"valid: {self.predicate.verdict.valid}, {len(self.predicate.verdict.reasons)} reasons"
        sound = "; ".join(self.problems) or "finds nothing wrong"
        return (
            f"| {self.what} | {self.seconds:.0f} s | {' + '.join(map(str, made))} | {'; '.join(lost) or 'none'} "
            f"| {verdict} | {sound} |"
        )


def time_session(
    place: Path, code: Path, machines: ray_nodes.RayCluster, what: str, runs: int, kill: bool
) -> TimedSession:
    """Verify once; with `kill`, SIGKILL the last node's raylet while a trainer runs there."""
    before = len(Ledger(code / "records").records()) if (code / "records").exists() else 0
    name = what.replace(" ", "-").replace(",", "")
    folder = str(code / "submissions" / "computes")
    command = ray_nodes.Command(place, code, name, folder, "--runs", str(runs), "--cluster", machines.address)
    start: float | None = None
    killed = False
    while command.process.poll() is None:
        if start is None and "announced as" in command.output():
            start = time.monotonic()
        if kill and start is not None and not killed and time.monotonic() - start > 15:
            node = machines.nodes[-1]
            if killed := bool(node.sandboxed()):
                node.kill()
        time.sleep(0.05)
    seconds = time.monotonic() - (start or 0)
    if command.process.returncode != 0:
        raise SystemExit(command.output())
    predicate = Ledger(code / "records").records()[before].record.predicate
    audit = ray_nodes.Command(place, code, f"audit-{name}", "--json", verb="audit")
    audit.wait()
    problems = [
        f"{finding['check']}: {finding['message']}"
        for finding in json.loads(audit.output())
        if not finding["ok"] and finding["check"] != "board"
    ]
    if predicate.cluster is None or len(predicate.cluster.lost) != kill:
        problems.append("the record does not say what was lost")
    return TimedSession(what, seconds, predicate, problems)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--page", type=Path)
    chosen = parser.parse_args()
    sessions = []
    with tempfile.TemporaryDirectory(prefix="nr1-", dir="/tmp") as name:
        place = Path(name)
        place.chmod(0o755)
        code = ray_nodes.repository(place, "code", seconds=0, runs=chosen.runs)
        for home in (code / "quick-baseline", code / "submissions" / "computes"):
            home.parent.mkdir(exist_ok=True)
            if not home.exists():
                tiny.make_submission(home.parent, home.name, 0)
            (home / "train.py").write_text(COMPUTES, encoding="utf-8")
        ray_nodes.freeze(code)
        with ray_nodes.ray_cluster(place, code) as machines:
            machines.add(0)
            sessions.append(time_session(place, code, machines, "one node", chosen.runs, kill=False))
            print(sessions[-1].row, flush=True)
            machines.add(1)
            for what, kill in (("two nodes", False), ("two nodes, one killed", True)):
                sessions.append(time_session(place, code, machines, what, chosen.runs, kill))
                print(sessions[-1].row, flush=True)
    if chosen.page is not None:
        head = ["| session | took | runs by node | lost | verdict | audit |", "|---|---|---|---|---|---|"]
        pages.write_section(chosen.page, "measured", "\n".join([*head, *(session.row for session in sessions)]))
    print(
        f"{os.cpu_count()} cores; {sum(bool(session.problems) for session in sessions)} sessions with something wrong"
    )
    return 1 if any(session.problems for session in sessions) else 0


if __name__ == "__main__":
    sys.exit(main())
