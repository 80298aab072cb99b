"""Runs on the nodes of a Ray cluster: two real nodes on this machine, one killed; and what shows without a cluster.

The cluster has one core per node. What trains is tests/tiny.py's trainer, which learns nothing; Ray, sandbox, socket,
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
from sessions import schedule_of

from harness.frozen.keys import seed_of
from harness.ledger import record
from harness.ledger.check import check
from harness.ledger.store import Ledger
from harness.tracks.track import ROOT
from harness.verify import cluster
from harness.verify.cluster import ClusterExecutor
from harness.verify.journal import RunResult, journals
from harness.verify.node import ClusterError

MACHINE = record.Machine(cpu="a", cores=2, memory_bytes=10**10, kernel="k", python="3", packages={"torch": "2"})
LOST = record.LostRun(submission="one", run=1, node="0" * 12, lost_utc="2026-11-21T10:00:00Z", reason="its node died")


# ---------------------------------------------------------------- without a cluster


def test_records_of_one_machine_keep_their_bytes_and_others_say_where():
    for path in sorted((ROOT / "records").glob("*/record.json")):
        data = path.read_bytes()
        assert record.load(data).predicate.cluster is None and record.dump(record.load(data)) == data
    item = record.load(data)
    placed = record.Cluster(runs=["1" * 12], reference=["2" * 12], lost=[LOST])
    data = record.dump(item.model_copy(update={"predicate": item.predicate.model_copy(update={"cluster": placed})}))
    assert record.load(data).predicate.cluster == placed and b'"lost_utc": "2026-11-21T10:00:00Z"' in data


def test_a_round_goes_to_one_node_where_cost_is_relative_and_each_run_by_itself_elsewhere(tmp_path):
    schedule, journal = schedule_of(tmp_path)
    participants = schedule.participants
    whole = cluster.batches(schedule)
    assert len(whole) == 4 and whole == schedule.rounds()
    assert sorted((participant.name, run) for turns in whole for participant, run in turns) == [
        *(("first", run) for run in range(3)), *(("second", run) for run in range(4)),
    ]  # fmt: skip
    hardware = schedule.track.hardware.model_copy(update={"runs_in_turn": False})
    elsewhere = dataclasses.replace(schedule, track=schedule.track.model_copy(update={"hardware": hardware}))
    assert [[turn] for turns in whole for turn in turns] == cluster.batches(elsewhere)
    # What the journal has is not made again.
    result = RunResult(wall_ms=1, run=None, completions=[], curve=[], log=b"", failure=None, node="0" * 12)
    journal.save_result(0, 1, result)
    cluster.load_results(schedule, journal)
    assert participants[0].results == {1: result}
    assert (participants[0], 1) not in [turn for turns in cluster.batches(schedule) for turn in turns]


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


@pytest.mark.parametrize("address", ["ray://localhost:10001", "here", "a b:1", "localhost:", "localhost:6379/x"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ClusterError, match=r"is no address of a cluster: give HOST:PORT"):
        ClusterExecutor(address)


# ---------------------------------------------------------------- on a real one

RUNS = 5


@pytest.fixture(scope="module")
def place():
    """Not below pytest's folder, which the sandbox's user may not enter: the harness's copy must be in its reach."""
    pytest.importorskip("ray")
    with tempfile.TemporaryDirectory(prefix="nr1-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def code(place):
    copy = ray_nodes.repository(place, "code", seconds=0.3, runs=RUNS)
    (copy / "submissions").mkdir()
    tiny.make_submission(copy / "submissions", "one", 4)
    return copy


@pytest.fixture(scope="module")
def machines(place, code):
    with ray_nodes.ray_cluster(place, code) as cluster:
        yield cluster


def wait_until(condition, command, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline and command.process.poll() is None, command.output()
        time.sleep(0.05)


def assert_closed(code, place):
    ledger = Ledger(code / "records")
    assert [finding for finding in check(ledger.folder) if not finding.ok] == [] and ledger.open_announcements() == []
    assert journals(place / "state" / "nano-r1") == []


@pytest.mark.long
def test_a_cluster_that_is_not_there(place, code):
    command = ray_nodes.Command(place, code, "absent", str(code / "submissions/one"), "--cluster", "127.0.0.1:1")
    assert command.wait() == 2
    assert "no Ray cluster can be joined at 127.0.0.1:1" in command.output() and "Traceback" not in command.output()
    assert not (code / "records").exists()


@pytest.mark.long
def test_five_runs_over_two_nodes_one_killed(place, code, machines):
    """A lost node is written down, its run is made again elsewhere with the same seed; the verdict is the right one."""
    machines.add(0)
    second = machines.add(1)
    other = place / "other"
    shutil.copytree(code, other)
    with (other / "harness" / "isolation" / "meter.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    third = machines.add(2, code=other)
    command = ray_nodes.Command(
        place, code, "killed", str(code / "submissions/one"), "--runs", str(RUNS), "--cluster", machines.address
    )
    wait_until(lambda: "announced as" in command.output(), command)
    # The submission's run, not the baseline's: its trainer sleeps for four seconds.
    wait_until(lambda: is_training(second), command)
    processes = second.kill()
    assert processes
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in processes):
        assert time.monotonic() < deadline, "the sandbox outlived its node"
        time.sleep(0.05)
    assert command.wait() == 0, command.output()
    output = command.output()
    third.end()
    assert re.search(r"node \w{12} at 127.0.0.5 is not used: its harness in .* is not the verifier's", output), output
    lost_line = r"node \w{12} at 127.0.0.4 is lost: its node died\. \S+ run \d is made again elsewhere"
    assert re.search(lost_line, output) and "Traceback" not in output and "state-dump" not in output, output

    (item,) = Ledger(code / "records").records()
    predicate = item.record.predicate
    assert (len(predicate.runs), len(predicate.reference.wall_ms), predicate.isolation) == (RUNS, RUNS, "full")
    assert all(predicate.isolation_checks.values()) and predicate.machine.cores == 1
    (lost,) = predicate.cluster.lost
    assert lost.reason == "its node died" and lost.submission in ("one", "quick-baseline")
    (kept,) = {*predicate.cluster.runs, *predicate.cluster.reference} - {lost.node}
    nodes = predicate.cluster.runs if lost.submission == "one" else predicate.cluster.reference
    assert nodes[lost.run] == kept
    # Every seed follows from the root, the lost run's too; and the verdict is that of five runs that learnt nothing.
    root, tree = bytes.fromhex(predicate.commitment.root_hex), predicate.submission.tree_sha256
    assert [run.seed for run in [*predicate.runs, predicate.control]] == [
        seed_of(root, tree, run) for run in range(RUNS + 1)
    ]
    assert not predicate.verdict.valid and predicate.verdict.reasons
    assert not any(re.search("isolation|runs? of the|took|no control", reason) for reason in predicate.verdict.reasons)
    assert_closed(code, place)
    findings = audited(place, code)
    assert {"cluster", "seeds", "verdict", "completions"} <= {finding["check"] for finding in findings}
    # This ledger began empty: no board, and nothing that cpu-deduction's "measured" could rest on.
    assert {(f["check"], f["file"]) for f in findings if not f["ok"] and f["check"] != "board"} == {
        ("track", "cpu-deduction.toml")
    }


def is_training(node):
    """Has its sandbox been there for a second? Then it is a trainer that sleeps."""
    before = node.sandboxed()
    time.sleep(1)
    return bool(before) and before == node.sandboxed()


def audited(place, code):
    command = ray_nodes.Command(place, code, "audited", "--json", verb="audit")
    command.wait()
    return json.loads(command.output())


@pytest.mark.long
def test_ctrl_c_ends_the_remote_runs_and_closes_the_session(place, code, machines):
    before = len(Ledger(code / "records").records())
    node = machines.add(3)
    options = ["--runs", "2", "--cluster", machines.address]
    command = ray_nodes.Command(place, code, "cancelled", str(code / "submissions/one"), *options)
    wait_until(node.sandboxed, command)
    wait_until(lambda: "announced as" in command.output() and node.sandboxed(), command)
    command.process.send_signal(signal.SIGINT)
    assert command.wait(60) == 130, command.output()
    assert node.sandboxed() == [] and "closed as abandoned" in command.output()
    assert list(Path("/tmp").glob("nano-r1-node-*")) == []
    assert len(Ledger(code / "records").records()) == before
    assert_closed(code, place)
    node.end()


@pytest.mark.long
def test_when_no_node_is_left_the_session_stays_open_and_is_resumed_elsewhere(place, code, machines):
    for node in machines.nodes:
        if node is not machines.head:
            node.end()
    last = machines.add(4)
    options = ["--cluster", machines.address]
    command = ray_nodes.Command(place, code, "alone", str(code / "submissions/one"), "--runs", "1", *options)
    wait_until(lambda: "trained in" in command.output() and is_training(last), command)
    last.kill()
    assert command.wait() == 2
    (announcement,) = Ledger(code / "records").open_announcements()
    assert "no node is left" in command.output() and f"--resume {announcement.id}" in command.output(), command.output()
    assert "Traceback" not in command.output()

    fresh = machines.add(5)
    command = ray_nodes.Command(place, code, "without", "--resume", announcement.id)
    assert command.wait() == 2 and "was started on a cluster: resume it with --cluster" in command.output()
    command = ray_nodes.Command(place, code, "resumed", "--resume", announcement.id, *options)
    assert command.wait() == 0, command.output()
    predicate = Ledger(code / "records").records()[-1].record.predicate
    assert predicate.resumed == 1 and [lost.reason for lost in predicate.cluster.lost] == ["its node died"]
    assert len({*predicate.cluster.runs, *predicate.cluster.reference}) == 2  # what the lost node had finished stands
    assert_closed(code, place)
    fresh.end()
