"""The runs of one session, spread over the nodes of a Ray cluster.

The session stays with its verifier: announcement, root, key, journal, judgement, ledger. A node gets one run at a time
(`harness.verify.node`): the run's own keys and the submission's files.

Ray (Moritz et al., OSDI 2018; docs.ray.io) takes a task to a node and notices when the node dies; its own retries are
off. A lost node is the machine's failure, not the submission's: it is written down, in the journal and in the record,
and the run is made again elsewhere with the same seed and keys. Whatever a submission does is a result and stands.

Times must mean the same everywhere. So the nodes of a session are alike, a node makes one run at a time, and where a
track is ranked by relative cost a whole round goes to one node, one run after the other: a submission and the baseline
meet the same machine at the same hour, as they do on a single one.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
from collections import deque
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from harness.ledger import record
from harness.tracks.track import Track
from harness.verify import clock
from harness.verify.executor import Attestation, Interrupted, Reporter
from harness.verify.journal import Journal, RunResult
from harness.verify.node import ClusterError, Mailbox, RunRequest, attest_node, run_on_node, version_of
from harness.verify.schedule import Schedule, Turn

RESOURCE = "nano-r1"  # what a node offers to make runs; a run takes all of it, so two never share a node
MAX_LOST_NODES = 3  # in one process: more is no accident, and the session waits for someone to look
ATTEST_SECONDS = 180  # for a node to start a process and to try to break out of its sandbox
STOP_SECONDS = 20  # for a cancelled run to end in order, before its process is killed
POLL_SECONDS = 1.0  # between two looks at what the nodes have reported
MEMORY_PPM = 20_000  # by which the memory of machines of one kind differs: firmware takes its share

REASONS = {
    "NodeDiedError": "its node died",
    "TaskUnschedulableError": "its node died",  # before the run started there
    "WorkerCrashedError": "its process on the node died",
    "OutOfMemoryError": "its node ran out of memory",
}


@dataclass
class Node:
    """A node that offers to make runs, and what it is doing."""

    id: str  # Ray's
    address: str
    resources: dict[str, float]
    batch: list[Turn] = field(default_factory=list)  # what is left of its batch
    turn: Turn | None = None
    task: Any = None  # Ray's reference to the current run's result

    @property
    def name(self) -> str:
        """As the record knows it. Ray draws it when the node comes up, so it does not tell whose the machine is."""
        return self.id[:12]


class ClusterExecutor:
    """The nodes of the cluster at `address` that offer the resource `nano-r1`. Use as a context."""

    cluster = True

    def __init__(self, address: str) -> None:
        """Raises ClusterError if this is no address."""
        if not re.fullmatch(r"auto|[A-Za-z0-9.\-\[\]:]+:[0-9]{1,5}", address):
            raise ClusterError(f"{address!r} is no address of a cluster: give HOST:PORT, or auto for one here")
        self._address = address
        self._nodes: list[Node] = []
        self._quiet = ExitStack()

    def __enter__(self) -> ClusterExecutor:
        """Join the cluster. Raises ClusterError."""
        try:
            import ray
        except ModuleNotFoundError:
            raise ClusterError("Ray is not installed: scripts/setup.sh cluster") from None
        # A thread of Ray's prints what a dead node last logged on standard output, where a script reads our JSON.
        self._quiet.enter_context(redirect_stdout(self._quiet.enter_context(open(os.devnull, "w", encoding="utf-8"))))
        our_handler = signal.getsignal(signal.SIGTERM)
        try:
            if self._address != "auto":  # Ray itself would try for a minute
                host, _, port = self._address.rpartition(":")
                socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
            ray.init(address=self._address, log_to_driver=False, logging_level=logging.CRITICAL)
        except Exception as error:  # of many classes
            self._quiet.close()
            why = str(error).strip().splitlines()[:1] or [type(error).__name__]
            raise ClusterError(
                f"no Ray cluster can be joined at {self._address}: {why[0]}; docs/cluster.md says how to start one"
            ) from None
        signal.signal(signal.SIGTERM, our_handler)  # Ray's would end the process and leave the session open
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import ray

        ray.shutdown()
        self._quiet.close()

    def attest(self, track: Track, nonce: bytes, reporter: Reporter, original: record.Machine | None) -> Attestation:
        """Find the nodes that have the same harness, isolate runs and are alike. Raises ClusterError if none does.

        All at once: each starts a process and tries to break out of its sandbox, in some ten seconds.
        """
        offering = _offering_nodes()
        if not offering:
            raise ClusterError(
                f"no node of the cluster at {self._address} offers to make runs: start one with "
                f"`ray start --address=… --resources='{{\"{RESOURCE}\": 1}}'`"
            )
        answers = _attest_all(offering, track, nonce)
        machines = {
            node.id: record.Machine.model_validate_json(answer["machine"])
            for node, answer in answers
            if "machine" in answer
        }
        model = original or _most_common(list(machines.values()))
        self._nodes, checks = [], {}
        for node, answer in answers:
            refusal = answer.get("refused")
            if refusal is None and (model is None or not alike(model, machines[node.id])):
                others = "the one that the session was started on" if original else "most others"
                refusal = f"it is not like {others}, so its times do not compare"
            if refusal is None:
                self._nodes.append(node)
                checks = answer["checks"]
            use = "makes runs" if refusal is None else f"is not used: {refusal}"
            reporter.say(f"node {node.name} at {node.address} {use}")
        if model is None or not self._nodes:
            raise ClusterError(f"no node of the {len(answers)} offering to make runs can be used")
        nodes = f"{len(self._nodes)} node{'s' * (len(self._nodes) != 1)}"
        reporter.say(f"isolation: full, on {nodes} of {model.cores} cores, {model.cpu}")
        return Attestation("full", checks, model)

    def run(self, schedule: Schedule, journal: Journal, reporter: Reporter, cancel: threading.Event) -> None:
        """Give each node a round (or a run) at a time until none is left. Raises ClusterError, Interrupted.

        Whatever it raises, no run continues afterwards. Those that ended are in the journal.
        """
        dispatcher = Dispatcher(self._nodes, schedule, journal, reporter)
        try:
            while dispatcher.step(cancel):
                pass
        finally:
            _stop(self._nodes)


# ---------------------------------------------------------------- which nodes


def alike(a: record.Machine, b: record.Machine) -> bool:
    """Do times on one compare with times on the other?"""
    difference = abs(a.memory_bytes - b.memory_bytes)
    same_memory = difference * 1_000_000 <= MEMORY_PPM * max(a.memory_bytes, b.memory_bytes)
    return same_memory and _without_identity(a) == _without_identity(b)


def _without_identity(machine: record.Machine) -> record.Machine:
    """Without what differs between machines of one kind: memory to the byte, and which GPUs they are."""
    gpu = machine.gpu
    if gpu is not None:
        devices = [device.model_copy(update={"uuid_sha256": "0" * 64}) for device in gpu.devices]
        gpu = gpu.model_copy(update={"devices": devices})
    return machine.model_copy(update={"memory_bytes": 0, "gpu": gpu})


def _most_common(machines: list[record.Machine]) -> record.Machine | None:
    """The machine that most are like."""
    return max(machines, key=lambda machine: sum(alike(machine, other) for other in machines), default=None)


def _offering_nodes() -> list[Node]:
    import ray

    return [
        Node(node["NodeID"], node["NodeManagerAddress"], node["Resources"])
        for node in sorted(ray.nodes(), key=lambda node: str(node["NodeID"]))
        if node["Alive"] and node["Resources"].get(RESOURCE, 0) > 0
    ]


def _attest_all(nodes: list[Node], track: Track, nonce: bytes) -> list[tuple[Node, dict[str, Any]]]:
    """What each node says of itself, as `attest_node` returns it."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    version = version_of(track)
    pending: dict[Any, Node] = {}
    answers: list[tuple[Node, dict[str, Any]]] = []
    for node in nodes:
        lacking = [
            f"{node.resources.get(kind, 0):g} of Ray's {kind}, and a run takes {needed}"
            for kind, needed in _requirements(track).items()
            if node.resources.get(kind, 0) < needed
        ]
        if lacking:
            answers.append((node, {"refused": f"it offers {'; '.join(lacking)}"}))
            continue
        task = ray.remote(max_retries=0, max_calls=1)(attest_node).options(**_placement(node, track))
        pending[task.remote(version.code_sha256, version.track, version.track_digest, nonce)] = node
    done, silent = ray.wait(list(pending), num_returns=len(pending), timeout=ATTEST_SECONDS) if pending else ([], [])
    for ref in silent:
        ray.cancel(ref, force=True)
        refusal = f"no answer in {ATTEST_SECONDS} s: is another session at work there?"
        answers.append((pending[ref], {"refused": refusal}))
    for ref in done:
        try:
            answers.append((pending[ref], ray.get(ref)))
        except RayTaskError as error:
            answers.append((pending[ref], {"refused": f"its harness does not work: {_last_line(error)}"}))
        except RayError as error:
            answers.append((pending[ref], {"refused": _reason(error)}))
    return sorted(answers, key=lambda pair: pair[0].id)


def _requirements(track: Track) -> dict[str, int]:
    """What a run takes, by the names of Ray's resources."""
    gpus = track.hardware.gpus if track.hardware.kind == "gpu" else 0
    return {"CPU": track.hardware.cores} | ({"GPU": gpus} if gpus else {})


def _placement(node: Node, track: Track) -> dict[str, Any]:
    """Ray's options for a task that has this node to itself, or fails."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    needs = _requirements(track)
    return {
        "num_cpus": needs["CPU"],
        "num_gpus": needs.get("GPU", 0),
        "resources": {RESOURCE: node.resources[RESOURCE]},
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node.id, soft=False),
    }


# ---------------------------------------------------------------- which run where


class Dispatcher:
    """Hands the runs of a session to the nodes, and collects their results."""

    def __init__(self, nodes: list[Node], schedule: Schedule, journal: Journal, reporter: Reporter) -> None:
        self._nodes, self._schedule, self._journal, self._reporter = nodes, schedule, journal, reporter
        load_results(schedule, journal)
        self._waiting = deque(batches(schedule))
        self._reporters = {node.name: reporter.node(node.name) for node in nodes}
        self._mailbox = _start_mailbox()
        self._lost = 0

    def step(self, cancel: threading.Event) -> bool:
        """Start what can be started, wait for a second, collect what has ended. False: nothing is left to do.

        Raises ClusterError if too many nodes are lost, or the harness fails on one. Raises Interrupted, and not what
        the same Ctrl-C did to a node on this machine, when `cancel` is set.
        """
        import ray

        for node in self._nodes:
            if node.task is None:
                self._start_next(node)
        busy = {node.task: node for node in self._nodes if node.task is not None}
        ended = ray.wait(list(busy), timeout=POLL_SECONDS)[0] if busy else []
        for name, method, arguments in ray.get(self._mailbox.take.remote()):
            getattr(self._reporters[name], method)(*arguments)
        if busy and cancel.is_set():
            raise Interrupted
        for task in ended:
            loss = self._collect(busy[task])
            if loss is not None:
                self._drop(busy[task], loss)
        return bool(busy)

    def _start_next(self, node: Node) -> None:
        """Start the node's next run, if one is due."""
        import ray

        while node.batch or self._waiting:
            if not node.batch:
                node.batch = self._waiting.popleft()
            participant, run = node.batch.pop(0)
            if self._schedule.is_due(participant):
                tree, track = participant.tree_sha256, self._schedule.track
                files = self._journal.submission_files(participant.number, tree)
                spec = self._schedule.spec(participant, run)
                request = RunRequest(version_of(track), spec, tree, files, node.name)
                task = ray.remote(max_retries=0, max_calls=1)(run_on_node).options(**_placement(node, track))
                node.turn, node.task = (participant, run), task.remote(request, self._mailbox)
                return

    def _collect(self, node: Node) -> str | None:
        """Save the result of the node's run, or return why the node is lost. Raises ClusterError on a fault of ours."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        assert node.turn is not None
        participant, run = node.turn
        try:
            result = RunResult.model_validate_json(ray.get(node.task)).model_copy(update={"node": node.name})
        except RayTaskError as error:
            raise ClusterError(f"node {node.name} at {node.address}: {_last_line(error)}") from error
        except RayError as error:
            return _reason(error)
        finally:
            node.task = None
        self._journal.save_result(participant.number, run, result)
        self._schedule.add_result(participant, run, result)
        if result.failure is not None:
            self._reporter.say(f"{participant.name}: {result.failure}")
        return None

    def _drop(self, node: Node, reason: str) -> None:
        """Write down that the node is lost with its run, which another makes again. Raises ClusterError if none can."""
        assert node.turn is not None
        participant, run = node.turn
        self._journal.save_loss(
            record.LostRun(
                submission=participant.name, run=run, node=node.name, lost_utc=clock.utc_now(), reason=reason
            )
        )
        self._reporter.say(
            f"node {node.name} at {node.address} is lost: {reason}. {participant.name} run {run + 1} is made again "
            "elsewhere, with the same seed and questions"
        )
        self._waiting.appendleft([node.turn, *node.batch])
        self._nodes.remove(node)
        self._lost += 1
        if self._lost > MAX_LOST_NODES or not self._nodes:
            problem = "no node is left" if not self._nodes else f"{self._lost} nodes were lost"
            raise ClusterError(f"{problem}: see to the cluster")


def load_results(schedule: Schedule, journal: Journal) -> None:
    """Add the runs that an earlier process finished."""
    for turns in schedule.rounds():
        for participant, run in turns:
            result = journal.result(participant.number, run)
            if result is not None:
                schedule.add_result(participant, run, result)


def batches(schedule: Schedule) -> list[list[Turn]]:
    """The runs that are to be made; each batch is made by one node, in this order."""
    missing = [[(who, run) for who, run in turns if run not in who.results] for turns in schedule.rounds()]
    if schedule.track.hardware.runs_in_turn:
        return [turns for turns in missing if turns]
    return [[turn] for turns in missing for turn in turns]


def _start_mailbox() -> Any:
    """The mailbox, on the verifier's own node: where that is lost, so is the verifier."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, max_restarts=0)(Mailbox).options(scheduling_strategy=here).remote()


def _stop(nodes: list[Node]) -> None:
    """End what the nodes are doing: in order, so that each clears up after itself; by force what does not end."""
    import ray

    tasks = [node.task for node in nodes if node.task is not None]
    for task in tasks:
        ray.cancel(task)  # a KeyboardInterrupt there: the sandbox is killed, the workspace removed
    if tasks:
        _, stubborn = ray.wait(tasks, num_returns=len(tasks), timeout=STOP_SECONDS)
        for task in stubborn:
            ray.cancel(task, force=True)


def _reason(error: Exception) -> str:
    """Why a run did not end, in words that name no machine: the record is public."""
    return REASONS.get(type(error).__name__, f"{type(error).__name__} of Ray")


def _last_line(error: Exception) -> str:
    """The error that a node's traceback ends with."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
