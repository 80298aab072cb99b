"""The doctor finds a sound sandbox sound, and a weakened one weak."""

from __future__ import annotations

import dataclasses
import json

import pytest
from typer.testing import CliRunner

from harness import cli, doctor, sandbox

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


@needs_sandbox
def test_the_command_says_what_a_record_made_here_would_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def said(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli.app, ["doctor", *arguments])
        return done.exit_code, done.stdout

    code, text = said()
    assert code == 0 and "isolation: full" in text and "FAILED" not in text
    monkeypatch.setattr(sandbox, "isolation", lambda: ISOLATION)  # namespaces and cgroups work, and yet:
    sound = sandbox._bwrap
    monkeypatch.setattr(
        sandbox, "_bwrap", lambda limits, binds: [word for word in sound(limits, binds) if word != "--disable-userns"]
    )
    code, text = said()
    assert code == 1 and "FAILED" in text and "isolation: none" in text and "isolation: full" not in text
    code, text = said("--json")
    found = json.loads(text)
    assert code == 1 and found["isolation"] == "none" and found["checks"]["user_namespaces_refused"]["ok"] is False


def test_a_sandbox_that_does_not_start_is_one_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> sandbox.Usage:
        raise sandbox.SandboxError("no user namespaces here")

    monkeypatch.setattr(sandbox, "run", broken)
    assert doctor.checks() == [doctor.Check("sandbox_starts", False, "no user namespaces here")]
