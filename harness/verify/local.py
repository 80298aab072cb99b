"""The runs of one session on this machine, one after the other; and what this machine is and can prove."""

from __future__ import annotations

import os
import platform
import threading
from importlib import metadata
from pathlib import Path

from harness.evaluation import reported
from harness.isolation import doctor, gpu, sandbox
from harness.ledger import record
from harness.tracks.track import Track
from harness.verify.executor import Attestation, Reporter, VerifyError
from harness.verify.journal import Journal, RunResult
from harness.verify.run import RunContext, make_run
from harness.verify.schedule import Participant, Schedule


class LocalExecutor:
    """Makes runs on this machine."""

    cluster = False

    def attest(self, track: Track, nonce: bytes, reporter: Reporter, original: record.Machine | None) -> Attestation:
        """What this machine is. Raises VerifyError if it lacks the track's GPUs, packages or reported benchmarks."""
        lease = lease_gpus(track)
        check_packages(track)
        for line in check_benchmarks(track):
            reporter.say(line)
        level, checks = _check_isolation(reporter)
        return Attestation(level, checks | _check_kernel(lease, level, reporter), describe_machine(track, lease, nonce))

    def run(self, schedule: Schedule, journal: Journal, reporter: Reporter, cancel: threading.Event) -> None:
        """Make the runs in their order. Those that the journal has are not made again."""
        lease = lease_gpus(schedule.track)
        context = RunContext(schedule.track, lease, sandbox.isolation().level, reporter, cancel)
        for turns in schedule.rounds():
            for participant, run in turns:
                if not schedule.is_due(participant):
                    continue
                result = journal.result(participant.number, run)
                if result is None:
                    result = _make(schedule, participant, run, journal, context)
                    journal.save_result(participant.number, run, result)
                schedule.add_result(participant, run, result)
                if result.failure is not None:
                    reporter.say(f"{participant.name}: {result.failure}")


def _make(schedule: Schedule, participant: Participant, run: int, journal: Journal, context: RunContext) -> RunResult:
    with journal.workspace() as place:
        folder = place / "submission"  # called the same in each run: it must not tell which one it is
        journal.copy_submission(participant.number, participant.tree_sha256, folder)
        return make_run(schedule.spec(participant, run), folder, context)


def check_gpus(track: Track) -> None:
    """Raises VerifyError where a GPU track would run without its GPUs: nothing that came of it could count."""
    if track.hardware.kind == "gpu" and (here := len(list(Path("/dev").glob("nvidia[0-9]*")))) < track.hardware.gpus:
        raise VerifyError(
            f"{track.name} runs on {track.hardware.label}, and this machine has {here or 'none'}",
            advice=f"`nano-r1 tracks plan {track.name}` says what it would take",
        )


def check_benchmarks(track: Track) -> list[str]:
    """The benchmarks that the track reports, a line each. Raises VerifyError where one of them is not here."""
    try:
        return reported.ready(track)
    except reported.ReportedError as error:
        raise VerifyError(str(error)) from None


def check_packages(track: Track) -> None:
    """Raises VerifyError where a package that the track names is not here. Of which version it is, the record says."""
    here = {(part.metadata["Name"] or "").lower() for part in metadata.distributions()}
    if missing := [name for name in track.packages if name.lower() not in here]:
        setup = "scripts/setup.sh vllm,gpu,tasks" if track.hardware.kind == "gpu" else "scripts/setup.sh"
        raise VerifyError(
            f"{track.id} runs with {' and '.join(missing)}, which is not installed", advice=f"`{setup}` installs it"
        )


def lease_gpus(track: Track) -> gpu.Lease | None:
    """The GPUs that a GPU track computes on, here. Raises VerifyError where they are not those that it asks for."""
    hardware = track.hardware
    if hardware.kind != "gpu":
        return None
    try:
        return gpu.lease(hardware.gpu, hardware.gpus, hardware.gpu_memory_bytes)
    except gpu.GpuError as error:
        raise VerifyError(f"{track.id} cannot be verified here: {error}") from None


def _check_isolation(reporter: Reporter) -> tuple[sandbox.Level, dict[str, bool]]:
    """The level that a record made here and now may claim, with the checks that prove it."""
    isolation = sandbox.isolation()
    checks = {check.name: check.ok for check in doctor.isolation_checks()} if isolation.level == "full" else {}
    proven = doctor.proven(checks)
    reasons = [*isolation.reasons, *(f"`nano-r1 doctor`: {name} failed" for name, ok in checks.items() if not ok)]
    reporter.say("\n  ".join([f"isolation: {proven}", *reasons]))
    return proven, checks


def _check_kernel(lease: gpu.Lease | None, level: sandbox.Level, reporter: Reporter) -> dict[str, bool]:
    """On a GPU track, the check that a kernel computes on each GPU from inside a sandbox. Raises VerifyError if not."""
    if lease is None:
        return {}
    try:
        lease.wait_until_empty()
        failure = doctor.kernel(lease, sandbox.isolation().level)
    except gpu.GpuError as error:
        raise VerifyError(str(error)) from None
    if failure is not None:
        raise VerifyError(f"the GPUs of this machine cannot be used: {failure}")
    reporter.say(f"GPUs: {', '.join(map(str, lease.devices))}; a kernel computes on each from inside the sandbox")
    return {"gpu_kernel_computes": True} if level == "full" else {}


def _describe_gpus(lease: gpu.Lease, nonce: bytes) -> record.Gpus:
    """What the session's GPUs are, as a record says it."""
    gpus = lease.describe(nonce)
    return record.Gpus(**vars(gpus) | {"devices": [record.Gpu(**vars(device)) for device in gpus.devices]})


def describe_machine(track: Track, lease: gpu.Lease | None, nonce: bytes) -> record.Machine:
    """What the numbers are measured on; the nonce hides the GPUs' UUIDs."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return record.Machine(
        cpu=models[0] if models else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages={name: metadata.version(name) for name in sorted({*track.packages, "tokenizers", "safetensors"})},
        gpu=None if lease is None else _describe_gpus(lease, nonce),
    )
