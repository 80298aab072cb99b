"""The runs of one session, spread over the nodes of a Ray cluster.

The session stays with its verifier: announcement, root, key, journal, judgement, ledger. A node gets one run at a time:
the run's own keys and the submission's files. It trains in its own sandbox, reads the weights, asks the questions, and
hands back what the journal keeps of a run. A node is as trusted as the verifier: what it says, the record says.

Ray (Moritz et al., OSDI 2018; docs.ray.io) takes a task to a node and notices when the node dies. It is told never to
try again by itself. A lost node is the machine's failure, not the submission's: it is written down, in the journal and
in the record, and the run is made again elsewhere with the same seed and keys. Whatever a submission does is a result
and stands.

Times must mean the same everywhere. So the nodes of a session are alike, a node makes one run at a time, and where a
track is ranked by relative cost a whole round goes to one node, one run after the other: a submission and the baseline
meet the same machine at the same hour, as they do on a single one.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from harness import submission
from harness.errors import NanoR1Error
from harness.isolation import sandbox
from harness.ledger import record
from harness.tracks import track as tracks
from harness.tracks.track import Track
from harness.verify import session as verify
from harness.verify.journal import Trained
from harness.verify.session import Arm, Interrupted, Job, Plan, Ready, Reporter, due, job_of, rounds, settle, utc_now

RESOURCE = "nano-r1"  # what a node offers to make runs; a run takes all of it, so two never share a node
MOST_LOST = 3  # nodes in one go: more is no accident, and the session waits for someone to look
READY_SECONDS = 180  # for a node to start a process and to try to break out of its sandbox
STOP_SECONDS = 20  # for a run that is called off to end in order, before its process is killed
LOOK_SECONDS = 1.0  # between two looks at what the nodes have said
TELL_SECONDS = 5.0  # between two words of a run on how far it is: the run needs the cores
MEMORY_PPM = 20_000  # by which the memory of machines of one kind differs: firmware takes its share

REASONS = {
    "NodeDiedError": "its node died",
    "TaskUnschedulableError": "its node died",  # before the run began there
    "WorkerCrashedError": "its process on the node died",
    "OutOfMemoryError": "its node ran out of memory",
}


class ClusterError(NanoR1Error):
    """A cluster that cannot make the runs, or cannot go on; the message says why and what to do."""


# ---------------------------------------------------------------- what travels


@dataclass(frozen=True)
class Version:
    """What a node must have as the verifier has it."""

    code_sha256: str
    track: str
    track_digest: str


@dataclass(frozen=True)
class Order:
    """One run for a node."""

    version: Version
    job: Job
    tree_sha256: str
    files: dict[str, bytes]  # of the submission, by path
    node: str


def version_of(track: Track) -> Version:
    return Version(code_sha256(), track.name, track.digest)


@cache
def code_sha256() -> str:
    """SHA-256 over the harness's sources: besides what a track's digest covers, the sandbox and the meter count too."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(sandbox.HARNESS).as_posix()}\n"
        for path in sorted(sandbox.HARNESS.rglob("*.py"))
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


# ---------------------------------------------------------------- on a node


def introduce(code: str, name: str, digest: str, nonce: bytes) -> dict[str, Any]:
    """Is this node fit for the track, and what is it? Called with plain values only: the other side may be older.

    Returns {"refused": why} or {"machine": record.Machine as JSON, "checks": {name: held}}.
    """
    heard = Heard()
    try:
        track = _same(Version(code, name, digest))
        track.check_base()
        proof = verify.HERE.ready(track, nonce, heard, None)
    except (ClusterError, tracks.TrackError, verify.VerifyError) as error:
        return {"refused": str(error)}
    if proof.level != "full":
        return {"refused": f"it cannot isolate a run: {'; '.join(heard.lines)}"}
    has, may = proof.machine.memory_bytes, track.budget.memory_bytes
    if has < may:
        return {"refused": f"it has {has} bytes of memory, and a run may use {may}"}
    return {"machine": proof.machine.model_dump_json(), "checks": proof.checks}


def make(order: Order, mailbox: Any) -> str:
    """One run, on this node. Returns Trained as JSON."""
    # Calling off raises KeyboardInterrupt, unless a script started the node and had the signal ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    track = _same(order.version)
    with _workplace() as place:
        _unpack(order, place)
        reporter = Remote(mailbox, order.node)
        lease = verify.leased(track)  # of the GPUs that Ray gives this task
        trained = verify.train(order.job, track, place, lease, "full", reporter, threading.Event())
    return trained.model_dump_json()


def _same(version: Version) -> Track:
    """The track, if this node's harness is the verifier's. Raises ClusterError."""
    remedy = "check out the same commit there"
    if code_sha256() != version.code_sha256:
        raise ClusterError(
            f"its harness in {sandbox.HARNESS} is not the verifier's ({code_sha256()[:12]}, not "
            f"{version.code_sha256[:12]}): {remedy}"
        )
    track = tracks.load(version.track)
    if track.digest != version.track_digest:
        raise ClusterError(
            f"its track {track.id} is not the verifier's ({track.digest[:12]}, not {version.track_digest[:12]}): "
            f"{remedy}"
        )
    return track


def _unpack(order: Order, place: Path) -> None:
    """The submission into place/submission. Raises SubmissionError if its digest is not the announced one."""
    sent, folder = place / "sent", place / "submission"
    for name, data in order.files.items():
        path = sent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    folder.mkdir()
    submission.snapshot(sent, order.tree_sha256, folder)
    shutil.rmtree(sent)


@contextmanager
def _workplace() -> Iterator[Path]:
    """An empty folder for one run, which the sandbox's user can reach. Removes what killed processes left in theirs."""
    above = Path(tempfile.gettempdir())
    for left in above.glob("nano-r1-node-*"):
        if not Path("/proc", left.name.split("-")[3]).exists():
            shutil.rmtree(left, ignore_errors=True)
    place = above / f"nano-r1-node-{os.getpid()}-{secrets.token_hex(8)}"
    place.mkdir()
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


class Remote:
    """A run's reporter on its node: it writes to the session's mailbox, and seldom."""

    def __init__(self, mailbox: Any, node: str) -> None:
        self._mailbox, self._node, self._told = mailbox, node, 0.0

    def begin(self, arm: str, run: int, phase: str, total: float) -> None:
        self._post("begin", arm, run, phase, total)

    def advance(self, done: float, note: str) -> None:
        if time.monotonic() - self._told >= TELL_SECONDS:
            self._told = time.monotonic()
            self._post("advance", done, note)

    def finished(self, seconds: float) -> None:
        self._post("finished", seconds)

    def say(self, text: str) -> None:
        self._post("say", text)

    def node(self, name: str) -> Remote:
        return Remote(self._mailbox, name)

    def _post(self, step: str, *told: Any) -> None:
        self._mailbox.post.remote(self._node, step, told)  # nobody waits for an answer


class Heard(Remote):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(None, "")
        self.lines: list[str] = []

    def _post(self, step: str, *told: Any) -> None:
        self.lines += map(str, told)


class Mailbox:
    """An actor beside the verifier, with what the runs have told since it last looked."""

    def __init__(self) -> None:
        self._held: list[tuple[str, str, tuple[Any, ...]]] = []

    def post(self, node: str, step: str, told: tuple[Any, ...]) -> None:
        self._held.append((node, step, told))

    def take(self) -> list[tuple[str, str, tuple[Any, ...]]]:
        held, self._held = self._held, []
        return held


# ---------------------------------------------------------------- the session's side


@dataclass
class Node:
    """A node that offers to make runs, and what it is at."""

    id: str  # Ray's
    address: str
    resources: dict[str, float]
    left: list[tuple[Arm, int]] = field(default_factory=list)  # of the round that it is at
    at: tuple[Arm, int] | None = None
    task: Any = None  # Ray's reference to what the run at hand will give

    @property
    def name(self) -> str:
        """As the record knows it. Ray draws it when the node comes up, so it does not tell whose the machine is."""
        return self.id[:12]


class Cluster:
    """The nodes of the cluster at `address` that offer the resource `nano-r1`. Use as a context."""

    cluster = True

    def __init__(self, address: str) -> None:
        """Raises ClusterError if this is no address."""
        if not re.fullmatch(r"auto|[A-Za-z0-9.\-\[\]:]+:[0-9]{1,5}", address):
            raise ClusterError(f"{address!r} is no address of a cluster: give HOST:PORT, or auto for one here")
        self._address = address
        self._nodes: list[Node] = []
        self._quiet = ExitStack()

    def __enter__(self) -> Cluster:
        """Join the cluster. Raises ClusterError."""
        try:
            import ray
        except ModuleNotFoundError:
            raise ClusterError("Ray is not installed: `pip install -c constraints.txt -e '.[cluster]'`") from None
        # A thread of Ray's prints what a dead node last logged on standard output, where a script reads our JSON.
        self._quiet.enter_context(redirect_stdout(self._quiet.enter_context(open(os.devnull, "w"))))
        polite = signal.getsignal(signal.SIGTERM)
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
        signal.signal(signal.SIGTERM, polite)  # Ray's would end the process and leave the session open
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import ray

        ray.shutdown()
        self._quiet.close()

    # ------------------------------------------------------------ which nodes

    def ready(self, track: Track, nonce: bytes, reporter: Reporter, like: record.Machine | None) -> Ready:
        """Find the nodes that have the same harness, hold their sandbox and are alike. Raises ClusterError if none is.

        All at once: each starts a process and tries to break out of its sandbox, in some ten seconds.
        """
        offered = _offered()
        if not offered:
            raise ClusterError(
                f"no node of the cluster at {self._address} offers to make runs: start one with "
                f"`ray start --address=… --resources='{{\"{RESOURCE}\": 1}}'`"
            )
        found = _introduced(offered, track, nonce)
        machines = {
            node.id: record.Machine.model_validate_json(said["machine"]) for node, said in found if "machine" in said
        }
        kind = like or _commonest(list(machines.values()))
        self._nodes, checks = [], {}
        for node, said in found:
            why = said.get("refused")
            if why is None and (kind is None or not alike(kind, machines[node.id])):
                others = "the one that the session was begun on" if like else "most others"
                why = f"it is not like {others}, so its times say nothing"
            if why is None:
                self._nodes.append(node)
                checks = said["checks"]
            use = "makes runs" if why is None else f"is not used: {why}"
            reporter.say(f"node {node.name} at {node.address} {use}")
        if kind is None or not self._nodes:
            raise ClusterError(f"none of the {len(found)} nodes that offer to make runs can be used")
        reporter.say(f"isolation: full, on {len(self._nodes)} nodes of {kind.cores} cores, {kind.cpu}")
        return Ready("full", checks, kind)

    # ------------------------------------------------------------ the runs

    def run_all(self, arms: list[Arm], plan: Plan) -> None:
        """Give each node a round (or a run) at a time until none is left. Raises ClusterError, Interrupted.

        Whatever it raises, no run goes on afterwards. Those that ended are in the journal.
        """
        import ray

        _recall(arms, plan)
        waiting = deque(_portions(arms, plan))
        reporters = {node.name: plan.reporter.node(node.name) for node in self._nodes}
        mailbox = _actor()
        lost = 0
        try:
            while True:
                for node in self._nodes:
                    if node.task is None:
                        _give(node, waiting, arms, plan, mailbox)
                busy = {node.task: node for node in self._nodes if node.task is not None}
                ended = ray.wait(list(busy), timeout=LOOK_SECONDS)[0] if busy else []
                for name, step, told in ray.get(mailbox.take.remote()):
                    getattr(reporters[name], step)(*told)
                if not busy:
                    return
                if plan.cancel.is_set():
                    raise Interrupted
                for task in ended:
                    why = _take(busy[task], plan)
                    settle(arms)
                    if why is None:
                        continue
                    lost += 1
                    waiting.appendleft(_lose(busy[task], why, plan))
                    self._nodes.remove(busy[task])
                    if lost > MOST_LOST or not self._nodes:
                        what = "no node is left" if not self._nodes else f"{lost} nodes were lost"
                        raise ClusterError(f"{what}: see to the cluster")
        finally:
            _stop(self._nodes)


def alike(one: record.Machine, other: record.Machine) -> bool:
    """Is a time on the one a time on the other?"""
    apart = abs(one.memory_bytes - other.memory_bytes)
    same = apart * 1_000_000 <= MEMORY_PPM * max(one.memory_bytes, other.memory_bytes)
    return same and _nameless(one) == _nameless(other)


def _nameless(machine: record.Machine) -> record.Machine:
    """Without what differs between machines of one kind: memory to the byte, and which GPUs they are."""
    gpu = machine.gpu
    if gpu is not None:
        devices = [device.model_copy(update={"uuid_sha256": "0" * 64}) for device in gpu.devices]
        gpu = gpu.model_copy(update={"devices": devices})
    return machine.model_copy(update={"memory_bytes": 0, "gpu": gpu})


def _commonest(machines: list[record.Machine]) -> record.Machine | None:
    """The machine that most are like."""
    return max(machines, key=lambda one: sum(alike(one, each) for each in machines), default=None)


def _offered() -> list[Node]:
    import ray

    return [
        Node(each["NodeID"], each["NodeManagerAddress"], each["Resources"])
        for each in sorted(ray.nodes(), key=lambda each: str(each["NodeID"]))
        if each["Alive"] and each["Resources"].get(RESOURCE, 0) > 0
    ]


def _introduced(nodes: list[Node], track: Track, nonce: bytes) -> list[tuple[Node, dict[str, Any]]]:
    """What each node says of itself."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    version = version_of(track)
    asking = (version.code_sha256, version.track, version.track_digest, nonce)
    asked: dict[Any, Node] = {}
    found: list[tuple[Node, dict[str, Any]]] = []
    for node in nodes:
        short = [
            f"{node.resources.get(kind, 0):g} of Ray's {kind}, and a run takes {needed}"
            for kind, needed in _needs(track).items()
            if node.resources.get(kind, 0) < needed
        ]
        if short:
            found.append((node, {"refused": f"it offers {'; '.join(short)}"}))
            continue
        task = ray.remote(max_retries=0, max_calls=1)(introduce)
        asked[task.options(**_on(node, track)).remote(*asking)] = node
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=READY_SECONDS) if asked else ([], [])
    for ref in silent:
        ray.cancel(ref, force=True)
        found.append((asked[ref], {"refused": f"no answer in {READY_SECONDS} s: is another session at work there?"}))
    for ref in answered:
        try:
            found.append((asked[ref], ray.get(ref)))
        except RayTaskError as error:
            found.append((asked[ref], {"refused": f"its harness does not work: {_last_line(error)}"}))
        except RayError as error:
            found.append((asked[ref], {"refused": _reason(error)}))
    return sorted(found, key=lambda pair: pair[0].id)


def _needs(track: Track) -> dict[str, int]:
    """What a run takes, in Ray's words."""
    gpus = track.hardware.gpus if track.hardware.kind == "gpu" else 0
    return {"CPU": track.hardware.cores} | ({"GPU": gpus} if gpus else {})


def _on(node: Node, track: Track) -> dict[str, Any]:
    """Ray's options for a task that has this node to itself, or fails."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    needs = _needs(track)
    return {
        "num_cpus": needs["CPU"],
        "num_gpus": needs.get("GPU", 0),
        "resources": {RESOURCE: node.resources[RESOURCE]},
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node.id, soft=False),
    }


def _actor() -> Any:
    """The mailbox, on the verifier's own node: where that is lost, so is the verifier."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, max_restarts=0)(Mailbox).options(scheduling_strategy=here).remote()


def _recall(arms: list[Arm], plan: Plan) -> None:
    """Add what an earlier process finished."""
    for turns in rounds(arms, plan):
        for arm, run in turns:
            trained = plan.journal.kept(arm.number, run)
            if trained is not None:
                arm.add(run, trained)
    settle(arms)


def _portions(arms: list[Arm], plan: Plan) -> list[list[tuple[Arm, int]]]:
    """The runs that are to be made: what stands together is made by one node, in this order."""
    left = [[(arm, run) for arm, run in turns if run not in arm.done] for turns in rounds(arms, plan)]
    if plan.track.hardware.runs_in_turn:
        return [turns for turns in left if turns]
    return [[turn] for turns in left for turn in turns]


def _give(node: Node, waiting: deque[list[tuple[Arm, int]]], arms: list[Arm], plan: Plan, mailbox: Any) -> None:
    """Start the node's next run, if one is due."""
    import ray

    while node.left or waiting:
        if not node.left:
            node.left = waiting.popleft()
        arm, run = node.left.pop(0)
        if due(arm, arms):
            files = plan.journal.files(arm.number, arm.tree_sha256)
            order = Order(version_of(plan.track), job_of(arm, plan, run), arm.tree_sha256, files, node.name)
            task = ray.remote(max_retries=0, max_calls=1)(make)
            node.at, node.task = (arm, run), task.options(**_on(node, plan.track)).remote(order, mailbox)
            return


def _take(node: Node, plan: Plan) -> str | None:
    """Keep what the node's run has given. If the node was lost, the reason. Raises ClusterError on a fault of ours."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    assert node.at is not None
    arm, run = node.at
    try:
        trained = Trained.model_validate_json(ray.get(node.task)).model_copy(update={"node": node.name})
    except RayTaskError as error:
        raise ClusterError(f"node {node.name} at {node.address}: {_last_line(error)}") from error
    except RayError as error:
        return _reason(error)
    finally:
        node.task = None
    plan.journal.keep(arm.number, run, trained)
    arm.add(run, trained)
    if trained.failure is not None:
        plan.reporter.say(f"{arm.name}: {trained.failure}")
    return None


def _lose(node: Node, why: str, plan: Plan) -> list[tuple[Arm, int]]:
    """Write down that the node is lost with its run. Returns what another node has to make in its place."""
    assert node.at is not None
    arm, run = node.at
    lost = record.Lost(submission=arm.name, run=run, node=node.name, lost_utc=utc_now(), reason=why)
    plan.journal.lose(lost)
    plan.reporter.say(
        f"node {node.name} at {node.address} is lost: {why}. {arm.name} run {run + 1} is made again elsewhere, "
        "with the same seed and questions"
    )
    return [node.at, *node.left]


def _stop(nodes: list[Node]) -> None:
    """End what the nodes are at: in order, so that each clears up after itself; by force what does not end."""
    import ray

    tasks = [node.task for node in nodes if node.task is not None]
    for task in tasks:
        ray.cancel(task)  # a KeyboardInterrupt there: the sandbox is killed, the workplace removed
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
