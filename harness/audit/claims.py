"""Claims of a record that follow from its own numbers, its track and the record that stood."""

from __future__ import annotations

from collections.abc import Iterator

from harness.audit.context import RecordContext
from harness.evaluation import judging, reported
from harness.frozen.judge import JudgeError
from harness.frozen.keys import commitment, seed_of
from harness.isolation import doctor, gpu
from harness.ledger.errors import CheckResult
from harness.tracks.track import Track


def check_keys(context: RecordContext) -> Iterator[CheckResult]:
    """Subjects, keys and seeds follow from the digests and the revealed root."""
    predicate, runs = context.predicate, context.predicate.all_runs
    root, nonce = bytes.fromhex(predicate.commitment.root_hex), bytes.fromhex(predicate.commitment.nonce_hex)
    tree = predicate.submission.tree_sha256
    opened = commitment(root, nonce) == predicate.commitment.commitment_sha256
    yield context.result("commitment opened", opened, "sha256(root ‖ nonce) is the commitment")
    subjects = {subject.name: subject.digest["sha256"] for subject in context.record.subject}
    digests = {f"run-{run.run}/model.safetensors": run.weights_sha256 for run in runs}
    same = subjects == {predicate.submission.name: tree, **digests}
    yield context.result("subjects", same, "the subjects are the tree and each run's weights")
    same = [(i, seed_of(root, tree, i)) for i in range(len(runs))] == [(run.run, run.seed) for run in runs]
    yield context.result("seeds", same, "each run's seed follows from the root")


def check_isolation(context: RecordContext) -> Iterator[CheckResult]:
    checks, level = context.predicate.isolation_checks, context.predicate.isolation
    yield context.result("isolation", doctor.proven(checks) == level, f"{level}, with {len(checks)} checks")


def check_cluster(context: RecordContext) -> Iterator[CheckResult]:
    """Of a session on several machines: each run has one, and the run of a lost machine was made on another."""
    predicate, cluster = context.predicate, context.predicate.cluster
    if cluster is None:
        return
    complete = (len(cluster.runs), len(cluster.reference)) == (
        len(predicate.all_runs),
        len(predicate.reference.wall_ms),
    )
    lost = [run for run in cluster.lost if run.submission == predicate.submission.name]
    elsewhere = all(run.run < len(cluster.runs) and cluster.runs[run.run] != run.node for run in lost)
    machines = len({*cluster.runs, *cluster.reference})
    message = f"made on {machines} machines; {len(cluster.lost)} lost, their runs made elsewhere"
    yield context.result("cluster", complete and elsewhere, message)


def check_hardware(context: RecordContext, track: Track) -> Iterator[CheckResult]:
    """On a GPU track: made on the GPUs that it asks for, and every run metered on all of them."""
    required, gpus = track.hardware, context.predicate.machine.gpu
    if required.kind != "gpu":
        return
    devices = [] if gpus is None else gpus.devices
    fitting = len(devices) == required.gpus and all(
        gpu.fits(required.gpu, required.gpu_memory_bytes, device.model, device.memory_bytes, device.mig)
        for device in devices
    )
    runs = context.predicate.all_runs
    metered = all(run.gpu is not None and run.gpu.devices == required.gpus for run in runs)
    models = ", ".join(device.model for device in devices) or "no GPU"
    message = f"{models}; the track is for {required.gpus} x {required.gpu}"
    yield context.result("hardware", fitting and metered, message)


def check_benchmarks(context: RecordContext) -> Iterator[CheckResult]:
    """Of fixed benchmarks a record keeps counts, neither questions nor completions: what follows from those holds."""
    predicate = context.predicate
    if predicate.benchmarks is None and all(run.benchmarks is None for run in predicate.all_runs):
        return
    flaw = reported.flaw(predicate)
    message = flaw or "counts, accuracies and intervals of the fixed benchmarks recomputed; completions are not kept"
    yield context.result("benchmarks", flaw is None, message)


def check_reported(context: RecordContext, track: Track) -> Iterator[CheckResult]:
    """The benchmarks are the track's. One that was pinned since is not missed: pins are no part of a track."""
    pinned, left_out = reported.benchmarks(track)
    allowed, recorded = [*pinned, *left_out], (context.predicate.benchmarks or {}).keys()
    if pinned or recorded:
        message = f"{', '.join(recorded) or 'none'}; the track reports {', '.join(allowed) or 'none'}"
        yield context.result("benchmarks", bool(recorded) and recorded <= set(allowed), message)


def check_verdict(context: RecordContext, track: Track) -> Iterator[CheckResult]:
    """The verdict is a pure function of the numbers, and of the record that stood."""
    predicate, standing = context.predicate, context.predicate.verdict.standing
    if standing is not None and context.opponent is None:
        yield context.result("verdict", False, f"judged against {standing}, which never stood before it")
        return
    if standing != context.incumbent:
        message = (
            f"judged on another branch, against {standing}: {context.incumbent} stood here, so it never stands itself"
        )
        yield context.result("standing", True, message)
    try:
        verdict = judging.judge(
            track, predicate.runs, predicate.reference, predicate.isolation, context.opponent, predicate.control
        )
        message = "statistics and verdict recomputed from the runs"
        yield context.result("verdict", verdict == predicate.verdict, message)
    except JudgeError as error:
        yield context.result("verdict", False, f"cannot be recomputed: {error}")
    same = predicate.reference.tree_sha256 == track.baseline.tree_sha256
    yield context.result("reference", same, "timed against the track's frozen baseline")
