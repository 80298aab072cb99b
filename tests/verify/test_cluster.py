"""Runs on the nodes of a Ray cluster: two real nodes on this machine, one killed; and what shows without a cluster.

The cluster has a core a node. What trains is tests/tiny.py's trainer, which learns nothing; Ray, sandbox, socket,
evaluation, journal and ledger are the real ones.
"""

import dataclasses
import json
import re
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest
import ray_nodes
import tiny

from harness import submission
from harness.keys import derive, seed_of
from harness.ledger import record
from harness.ledger.check import check
from harness.ledger.store import Ledger
from harness.tracks.track import ROOT, load
from harness.verify import cluster
from harness.verify.cluster import Cluster
from harness.verify.journal import Journal, JournalError, RunResult, journals
from harness.verify.node import ClusterError, RunRequest, attest_node, matching_track, unpack, version_of, workspace
from harness.verify.schedule import Participant, Schedule

MACHINE = record.Machine(cpu="a", cores=2, memory_bytes=10**10, kernel="k", python="3", packages={"torch": "2"})
LOST = record.Lost(submission="one", run=1, node="0" * 12, lost_utc="2026-11-21T10:00:00Z", reason="its node died")


# ---------------------------------------------------------------- without a cluster


def test_records_of_one_machine_keep_their_bytes_and_others_say_where():
    for path in sorted((ROOT / "records").glob("*/record.json")):
        data = path.read_bytes()
        assert record.load(data).predicate.cluster is None and record.dump(record.load(data)) == data
    item = record.load(data)
    placed = record.Cluster(runs=["1" * 12], reference=["2" * 12], lost=[LOST])
    told = record.dump(item.model_copy(update={"predicate": item.predicate.model_copy(update={"cluster": placed})}))
    assert record.load(told).predicate.cluster == placed and b'"lost_utc": "2026-11-21T10:00:00Z"' in told


def test_a_lost_run_is_kept_in_the_journal(tmp_path):
    journal = Journal(tmp_path, "e")
    journal.create([])
    assert journal.losses() == []
    journal.save_loss(LOST)
    journal.save_loss(LOST.model_copy(update={"run": 2}))
    assert [lost.run for lost in Journal(tmp_path, "e").losses()] == [1, 2]


def on_track(in_turn):
    track = load("cpu-logic")
    return track.model_copy(update={"hardware": track.hardware.model_copy(update={"runs_in_turn": in_turn})})


def schedule_of(tmp_path):
    items = [tiny.make(tmp_path, name, 0) for name in ("first", "second")]
    journal = Journal(tmp_path / "state", "e")
    journal.create(items)
    participants = [
        Participant(number, item.manifest.name, item.tree_sha256, for_record=number > 0)
        for number, item in enumerate(items)
    ]
    return participants, Schedule(on_track(in_turn=True), participants, 3, bytes(32), control=True), journal


def test_a_round_goes_to_one_node_where_cost_is_relative_and_each_run_by_itself_elsewhere(tmp_path):
    participants, schedule, journal = schedule_of(tmp_path)
    whole = cluster.batches(schedule)
    assert len(whole) == 4 and whole == schedule.rounds()
    assert sorted((participant.name, run) for turns in whole for participant, run in turns) == [
        *(("first", run) for run in range(3)), *(("second", run) for run in range(4)),
    ]  # fmt: skip
    elsewhere = dataclasses.replace(schedule, track=on_track(in_turn=False))
    assert [[turn] for turns in whole for turn in turns] == cluster.batches(elsewhere)
    # What the journal has is not made again.
    result = RunResult(wall_ms=1, run=None, completions=[], curve=[], log=b"", failure=None, node="0" * 12)
    journal.save_result(0, 1, result)
    cluster.load_results(schedule, journal)
    assert participants[0].results == {1: result}
    assert (participants[0], 1) not in [turn for turns in cluster.batches(schedule) for turn in turns]


def test_a_run_has_its_own_keys_and_nothing_that_leads_to_another(tmp_path):
    (_, second), schedule, _ = schedule_of(tmp_path)
    root, tree = b"r" * 32, second.tree_sha256
    schedule = dataclasses.replace(schedule, root=root)
    spec = schedule.spec(second, 2)
    assert (spec.seed, spec.train) == (seed_of(root, tree, 2), derive(root, "train", tree, 2))
    assert spec.heldout == derive(root, "heldout", tree, 2) and spec.control is None
    assert schedule.spec(second, 3).control == derive(root, "control", tree, 3)
    keys = [value for field in dataclasses.fields(spec) if isinstance(value := getattr(spec, field.name), bytes)]
    assert root not in keys and len(keys) == 2


def test_a_submission_travels_as_bytes_and_arrives_whole_or_not_at_all(tmp_path):
    (_, second), schedule, journal = schedule_of(tmp_path)
    files = journal.submission_files(1, second.tree_sha256)
    assert sorted(files) == ["submission.toml", "train.py"]
    version = version_of(schedule.track)
    request = RunRequest(version, schedule.spec(second, 0), second.tree_sha256, files, "n")
    (tmp_path / "a").mkdir()
    unpack(request, tmp_path / "a")
    assert submission.tree_digest(tmp_path / "a" / "submission") == second.tree_sha256
    (tmp_path / "b").mkdir()
    corrupted = dataclasses.replace(request, files=files | {"train.py": b"print()\n"})
    with pytest.raises(submission.SubmissionError):
        unpack(corrupted, tmp_path / "b")
    # The verifier sends nothing but what was announced.
    (journal.submission_folder(1) / "train.py").write_text("print()\n")
    with pytest.raises(JournalError, match="submission-1 is not what was announced"):
        journal.submission_files(1, second.tree_sha256)


def test_a_node_with_another_harness_or_track_is_refused():
    version = version_of(load("cpu-logic"))
    assert matching_track(version).id == load("cpu-logic").id
    other = attest_node("0" * 64, version.track, version.track_digest, bytes(32))["refused"]
    assert "is not the verifier's" in other and "check out the same commit there" in other and "its harness" in other
    track = attest_node(version.code_sha256, version.track, "0" * 64, bytes(32))["refused"]
    assert "its track cpu-logic@" in track and "is not the verifier's" in track


def test_machines_are_alike_but_for_the_memory_that_firmware_takes_and_which_gpus_they_have():
    assert cluster.alike(MACHINE, MACHINE.model_copy(update={"memory_bytes": 10**10 - 10**8}))
    for other in ({"memory_bytes": 9 * 10**9}, {"cpu": "b"}, {"cores": 4}, {"packages": {"torch": "3"}}):
        assert not cluster.alike(MACHINE, MACHINE.model_copy(update=other))
    gpu = record.Gpu(
        model="NVIDIA H100 80GB HBM3", uuid_sha256="1" * 64, memory_bytes=80 * 10**9, max_sm_clock_mhz=1980,
        max_memory_clock_mhz=None, power_limit_milliwatts=700_000, ecc=True, mig=False, persistence=True,
    )  # fmt: skip

    def having(**other):
        return MACHINE.model_copy(
            update={
                "gpu": record.Gpus(driver="1", nvml="1", cuda="1", libraries={}, devices=[gpu.model_copy(update=other)])
            }
        )

    assert cluster.alike(having(), having(uuid_sha256="2" * 64))
    assert not cluster.alike(having(), having(power_limit_milliwatts=350_000)) and not cluster.alike(having(), MACHINE)


def test_the_reason_of_a_loss_names_no_machine():
    class NodeDiedError(Exception):
        pass

    assert cluster._reason(NodeDiedError("Node IP: 10.1.2.3")) == "its node died"
    assert "10.1.2.3" not in cluster._reason(OSError("10.1.2.3"))


def test_left_workspaces_of_dead_processes_are_removed(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, alive = tmp_path / "nano-r1-node-4194305-ab", tmp_path / "nano-r1-node-1-ab"  # no pid is above 2**22
    dead.mkdir()
    alive.mkdir()
    with workspace() as place:
        assert place.stat().st_mode & 0o777 == 0o755 and not dead.exists() and alive.exists()
    assert not place.exists()


@pytest.mark.parametrize("address", ["ray://localhost:10001", "here", "a b:1", "localhost:", "localhost:6379/x"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ClusterError, match=r"is no address of a cluster: give HOST:PORT"):
        Cluster(address)


# ---------------------------------------------------------------- on a real one

RUNS = 5
needs_ray = [pytest.mark.long, pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")]


@pytest.fixture(scope="module")
def place():
    """Not below pytest's folder, which the sandbox's user may not enter: the harness's copy must be in its reach."""
    pytest.importorskip("ray")
    with tempfile.TemporaryDirectory(prefix="nr1-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def code(place):
    home = ray_nodes.repository(place, "code", seconds=0.3, runs=RUNS)
    (home / "submissions").mkdir()
    tiny.make(home / "submissions", "one", 4)
    return home


@pytest.fixture(scope="module")
def machines(place, code):
    with ray_nodes.machines(place, code) as found:
        yield found


def until(holds, command, seconds=120):
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline and command.process.poll() is None, command.shown()
        time.sleep(0.05)
    return found


def is_sound(code, place):
    ledger = Ledger(code / "records")
    assert [finding for finding in check(ledger.folder) if not finding.ok] == [] and ledger.open_commitments() == []
    assert journals(place / "state" / "nano-r1") == []


@pytest.mark.long
def test_a_cluster_that_is_not_there(place, code):
    command = ray_nodes.Command(place, code, "absent", str(code / "submissions/one"), "--cluster", "127.0.0.1:1")
    assert command.wait() == 2
    assert "no Ray cluster can be joined at 127.0.0.1:1" in command.shown() and "Traceback" not in command.shown()
    assert not (code / "records").exists()


@pytest.mark.long
def test_five_runs_over_two_nodes_one_killed(place, code, machines):
    """A lost node is written down, its run is made again elsewhere with the same seed; the verdict is the right one."""
    machines.add(0)
    second = machines.add(1)
    other = place / "other"
    shutil.copytree(code, other)
    with (other / "harness" / "isolation" / "meter.py").open("a") as file:
        file.write("# changed\n")
    third = machines.add(2, code=other)
    command = ray_nodes.Command(
        place, code, "killed", str(code / "submissions/one"), "--runs", str(RUNS), "--cluster", machines.address
    )
    until(lambda: "announced as" in command.shown(), command)
    # The submission's run, not the baseline's: its trainer sleeps for four seconds.
    until(lambda: _settled(second), command)
    within = second.kill()
    assert within
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in within):
        assert time.monotonic() < deadline, "the sandbox outlived its node"
        time.sleep(0.05)
    assert command.wait() == 0, command.shown()
    shown = command.shown()
    third.end()
    assert re.search(r"node \w{12} at 127.0.0.5 is not used: its harness in .* is not the verifier's", shown), shown
    lost_line = r"node \w{12} at 127.0.0.4 is lost: its node died\. \S+ run \d is made again elsewhere"
    assert re.search(lost_line, shown) and "Traceback" not in shown and "state-dump" not in shown, shown

    (item,) = Ledger(code / "records").records()
    said = item.record.predicate
    assert (len(said.runs), len(said.reference.wall_ms), said.isolation) == (RUNS, RUNS, "full")
    assert all(said.isolation_checks.values()) and said.machine.cores == 1
    (lost,) = said.cluster.lost
    assert lost.reason == "its node died" and lost.submission in ("one", "quick-baseline")
    (kept,) = {*said.cluster.runs, *said.cluster.reference} - {lost.node}
    where = said.cluster.runs if lost.submission == "one" else said.cluster.reference
    assert where[lost.run] == kept
    # Every seed follows from the root, the lost run's too; and the verdict is that of five runs that learnt nothing.
    root, tree = bytes.fromhex(said.commitment.root_hex), said.submission.tree_sha256
    assert [run.seed for run in [*said.runs, said.control]] == [seed_of(root, tree, run) for run in range(RUNS + 1)]
    assert not said.verdict.valid and said.verdict.reasons
    assert not any(re.search("isolation|runs? of the|took|no control", reason) for reason in said.verdict.reasons)
    is_sound(code, place)
    findings = audited(place, code)
    assert {"cluster", "seeds", "verdict", "completions"} <= {finding["check"] for finding in findings}
    assert [finding for finding in findings if not finding["ok"] and finding["check"] != "board"] == []


def _settled(node):
    """Has its sandbox been there for a second? Then it is a trainer that sleeps."""
    before = node.sandboxed()
    time.sleep(1)
    return bool(before) and before == node.sandboxed()


def audited(place, code):
    command = ray_nodes.Command(place, code, "audited", "--json", verb="audit")
    command.wait()
    return json.loads(command.shown())


@pytest.mark.long
def test_ctrl_c_ends_the_remote_runs_and_closes_the_session(place, code, machines):
    before = len(Ledger(code / "records").records())
    node = machines.add(3)
    options = ["--runs", "2", "--cluster", machines.address]
    command = ray_nodes.Command(place, code, "cancelled", str(code / "submissions/one"), *options)
    until(node.sandboxed, command)
    until(lambda: "announced as" in command.shown() and node.sandboxed(), command)
    command.process.send_signal(signal.SIGINT)
    assert command.wait(60) == 130, command.shown()
    assert node.sandboxed() == [] and "closed as abandoned" in command.shown()
    assert list(Path("/tmp").glob("nano-r1-node-*")) == []
    assert len(Ledger(code / "records").records()) == before
    is_sound(code, place)
    node.end()


@pytest.mark.long
def test_when_no_node_is_left_the_session_stays_open_and_goes_on_elsewhere(place, code, machines):
    for node in machines.nodes:
        if node is not machines.head:
            node.end()
    last = machines.add(4)
    options = ["--cluster", machines.address]
    command = ray_nodes.Command(place, code, "alone", str(code / "submissions/one"), "--runs", "1", *options)
    until(lambda: "trained in" in command.shown() and _settled(last), command)
    last.kill()
    assert command.wait() == 2
    (left,) = Ledger(code / "records").open_commitments()
    assert "no node is left" in command.shown() and f"--resume {left.id}" in command.shown(), command.shown()
    assert "Traceback" not in command.shown()

    fresh = machines.add(5)
    command = ray_nodes.Command(place, code, "without", "--resume", left.id)
    assert command.wait() == 2 and "was started on a cluster: resume it with --cluster" in command.shown()
    command = ray_nodes.Command(place, code, "resumed", "--resume", left.id, *options)
    assert command.wait() == 0, command.shown()
    said = Ledger(code / "records").records()[-1].record.predicate
    assert said.resumed == 1 and [lost.reason for lost in said.cluster.lost] == ["its node died"]
    assert len({*said.cluster.runs, *said.cluster.reference}) == 2  # what the lost node had finished stands
    is_sound(code, place)
    fresh.end()
