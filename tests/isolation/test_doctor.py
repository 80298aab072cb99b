"""The doctor finds a sound sandbox sound, and a weakened one weak."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path

import pytest
from needs import ISOLATION, needs_sandbox
from typer.testing import CliRunner

from harness.cli.app import app
from harness.isolation import command_line, doctor, sandbox

NAMES = {
    "sandbox_starts", "network_refused", "host_files_hidden", "host_files_unwritable", "host_processes_hidden",
    "environment_hidden", "no_descriptors_inherited", "supervisor_untouchable", "remount_refused",
    "user_namespaces_refused", "setuid_gives_nothing", "calls_filtered", "clock_refused", "folders_capped",
    "processes_limited", "memory_limited", "leftovers_detected", "daemon_cpu_metered",
}  # fmt: skip


@needs_sandbox
def test_a_sound_sandbox_passes_every_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET_OF_THE_HOST", "1")
    checks = doctor.isolation_checks()
    assert {check.name for check in checks} == NAMES
    assert [check for check in checks if not check.ok] == []


@needs_sandbox
def test_a_weakened_sandbox_fails_the_checks_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = command_line.bwrap

    def weak(limits: sandbox.Limits, binds: list[str]) -> list[str]:
        line = sound(dataclasses.replace(limits, shm_bytes=1 << 22), binds)
        line[line.index("--unshare-all") + 1 : line.index("--unshare-all") + 1] = ["--share-net"]
        line.remove("--disable-userns")
        filtered = line.index("--seccomp")
        del line[filtered : filtered + 2]
        return [*line[:-4], "--ro-bind-try", "/etc/passwd", "/etc/passwd"]  # without the two --remount-ro

    monkeypatch.setattr(command_line, "bwrap", weak)
    monkeypatch.setattr(command_line, "GRACE_SECONDS", 0.3)
    failed = {check.name for check in doctor.isolation_checks() if not check.ok}
    assert {"network_refused", "host_files_hidden", "host_files_unwritable", "folders_capped"} <= failed
    assert {"user_namespaces_refused", "calls_filtered"} <= failed
    assert "memory_limited" not in failed


@needs_sandbox
def test_a_probe_whose_words_cannot_be_read_has_proven_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBE", "def probe(host):\n    print('a warning')")
    (failed,) = [check for check in doctor.isolation_checks() if not check.ok]
    assert (failed.name, failed.detail.strip()) == ("probe_finished", "a warning")


@needs_sandbox
def test_the_command_says_what_a_record_made_here_would_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def output(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["doctor", *arguments])
        return done.exit_code, done.stdout

    code, text = output()
    assert code == 0 and "isolation: full" in text and "FAILED" not in text
    assert "gpus" in text
    monkeypatch.setattr(sandbox, "isolation", lambda: ISOLATION)  # namespaces and cgroups work, and yet:
    sound = command_line.bwrap
    monkeypatch.setattr(
        command_line,
        "bwrap",
        lambda limits, binds: [word for word in sound(limits, binds) if word != "--disable-userns"],
    )
    code, text = output()
    assert code == 1 and "FAILED" in text and "isolation: none" in text and "isolation: full" not in text
    code, text = output("--json")
    shown = json.loads(text)
    assert code == 1 and shown["isolation"] == "none" and shown["checks"]["user_namespaces_refused"]["ok"] is False


def test_a_sandbox_that_does_not_start_is_one_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> sandbox.Usage:
        raise sandbox.SandboxError("no user namespaces here")

    monkeypatch.setattr(sandbox, "run", broken)
    assert doctor.isolation_checks() == [doctor.Check("sandbox_starts", False, "no user namespaces here")]


# ---------------------------------------------------------------- GPUs

no_gpu = pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU here")


@no_gpu
def test_without_a_gpu_one_line_says_so_and_nothing_failed() -> None:
    check = doctor.gpus()
    assert (check.name, check.ok) == ("gpus", True)
    assert check.detail.startswith("no GPU: GPU tracks cannot be verified here (the NVIDIA driver does not answer: ")


@pytest.mark.all
@pytest.mark.slow
@needs_sandbox
def test_the_kernels_program_is_right_and_a_wrong_product_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, from inside a real sandbox: the program is the one that runs on GPUs, but for the device."""
    assert doctor.compute("cpu", 1, "full", None) is None
    real = inspect.getsource
    wrong = real(doctor._multiply).replace("a @ b", "a @ b + (a == 3)")
    monkeypatch.setattr(inspect, "getsource", lambda what: wrong if what is doctor._multiply else real(what))
    assert doctor.compute("cpu", 1, "full", None) == "0 of 1 GPUs gave a right product from inside the sandbox"
    broken = "def _multiply(*_):\n    raise MemoryError('none left')\n"
    monkeypatch.setattr(inspect, "getsource", lambda what: broken if what is doctor._multiply else real(what))
    failure = doctor.compute("cpu", 1, "full", None)
    assert failure == "a kernel's program exited with code 1 (MemoryError: none left)"


@pytest.mark.slow
@needs_sandbox
@no_gpu
def test_without_a_gpu_the_kernel_says_that_it_found_none() -> None:
    failure = doctor.compute("cuda", 1, "full", None)
    assert failure is not None and failure.startswith("inside the sandbox there is no GPU (")
