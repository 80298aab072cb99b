"""The doctor finds a sound sandbox sound, and a weakened one weak."""

from __future__ import annotations

import dataclasses

import pytest

from harness import doctor, sandbox

ISOLATION = sandbox.isolation()
needs_sandbox = pytest.mark.skipif(ISOLATION.level != "full", reason="; ".join(ISOLATION.reasons))

NAMES = {
    "sandbox_starts", "network_refused", "host_files_hidden", "host_files_unwritable", "host_processes_hidden",
    "environment_hidden", "no_descriptors_inherited", "supervisor_untouchable", "remount_refused",
    "user_namespaces_refused", "setuid_gives_nothing", "calls_filtered", "clock_refused", "folders_capped",
    "processes_limited", "memory_limited", "leftovers_detected", "daemon_cpu_metered",
}  # fmt: skip


@needs_sandbox
def test_a_sound_sandbox_passes_every_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET_OF_THE_HOST", "1")
    checks = doctor.checks()
    assert {check.name for check in checks} == NAMES
    assert [check for check in checks if not check.ok] == []


@needs_sandbox
def test_a_weakened_sandbox_fails_the_checks_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = sandbox._bwrap

    def weak(limits: sandbox.Limits, binds: list[str]) -> list[str]:
        line = sound(dataclasses.replace(limits, shm_bytes=1 << 22), binds)
        line[line.index("--unshare-all") + 1 : line.index("--unshare-all") + 1] = ["--share-net"]
        line.remove("--disable-userns")
        filtered = line.index("--seccomp")
        del line[filtered : filtered + 2]
        return [*line[:-4], "--ro-bind-try", "/etc/passwd", "/etc/passwd"]  # without the two --remount-ro

    monkeypatch.setattr(sandbox, "_bwrap", weak)
    monkeypatch.setattr(sandbox, "GRACE_SECONDS", 0.3)
    failed = {check.name for check in doctor.checks() if not check.ok}
    assert {"network_refused", "host_files_hidden", "host_files_unwritable", "folders_capped"} <= failed
    assert {"user_namespaces_refused", "calls_filtered"} <= failed
    assert "memory_limited" not in failed


def test_a_sandbox_that_does_not_start_is_one_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> sandbox.Usage:
        raise sandbox.SandboxError("no user namespaces here")

    monkeypatch.setattr(sandbox, "run", broken)
    assert doctor.checks() == [doctor.Check("sandbox_starts", False, "no user namespaces here")]
