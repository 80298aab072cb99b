"""Each cause that keeps a sandbox from starting gets its own remedy, and no other's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from needs import needs_sandbox
from typer.testing import CliRunner

from harness.cli.app import app
from harness.isolation import obstacles, sandbox
from harness.tracks.track import ROOT

INSTALL = "apt-get install"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(obstacles, "KERNEL", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("said", "setting", "remedy"),
    [
        # What bubblewrap 0.6 to 0.11 print (bubblewrap.c, network.c, bind-mount.c).
        ("bwrap: setting up uid map: Permission denied", "apparmor_restrict_unprivileged_userns=1",
         "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
        ("bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", "apparmor_restrict_unprivileged_userns=1",
         "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
        ("bwrap: setting up uid map: Permission denied", "", "virtual machine"),
        ("bwrap: No permissions to create new namespace, likely because the kernel does not allow non-privileged user "
         "namespaces.", "unprivileged_userns_clone=0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        ("bwrap: No permissions to create a new namespace", "", "virtual machine"),
        ("bwrap: Creating new namespace failed: No space left on device", "", "sysctl -w user.max_user_namespaces="),
        ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "", "hides parts of /proc"),
        ("bwrap: Unknown option --disable-userns", "", "0.8 or newer"),
        ("Segmentation fault", "", "report it"),
    ],
)  # fmt: skip
def test_what_bubblewrap_says_leads_to_its_own_remedy(kernel: Path, said: str, setting: str, remedy: str) -> None:
    if setting:
        name, _, value = setting.partition("=")
        (kernel / name).write_text(f"{value}\n", encoding="ascii")
    reason = obstacles.explained(said)
    assert said in reason and remedy in reason and INSTALL not in reason


def test_a_uid_map_without_the_sandbox_user() -> None:
    assert obstacles.missing_uid("         0          0 4294967295\n") is None
    assert obstacles.missing_uid("0 1000 1\n1 100000 65536\n") is None
    for uid_map in ("0 0 1\n", "0 1000 1\n1 100000 1000\n", "65535 0 10\n"):
        reason = obstacles.missing_uid(uid_map)
        assert reason is not None and "/etc/subuid" in reason and INSTALL not in reason


def doctor(*before: str) -> str:
    line = [*before, sys.executable, "-m", "harness.cli", "doctor"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(line, env=environment, capture_output=True, encoding="utf-8", check=False).stdout


@needs_sandbox
@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="needs root and unshare")
def test_the_doctor_of_a_container_with_one_uid_says_what_is_missing() -> None:
    """The real thing: root of a user namespace in which nobody else exists."""
    if subprocess.run(["unshare", "-Ur", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no user namespaces for root here")
    said = doctor("unshare", "-Ur")
    assert "/etc/subuid" in said and "isolation: none" in said and INSTALL not in said


@needs_sandbox
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(("closed", "remedy"), [("repository", "/opt or /srv"), ("python", "Delete .venv")])
def test_a_closed_home_is_named_with_what_lies_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str, remedy: str
) -> None:
    home = tmp_path / "home"
    (home / "harness").mkdir(parents=True)
    (home / "harness" / "client.py").touch()
    (home / "python3").touch()
    home.chmod(0o700)
    if closed == "repository":
        monkeypatch.setattr(obstacles, "HARNESS", home / "harness")
    else:
        monkeypatch.setattr(sys, "executable", str(home / "python3"))
    (reason,) = sandbox.isolation().reasons
    assert "has mode 0700" in reason and remedy in reason and INSTALL not in reason


def test_the_doctor_prints_a_reason_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra `[gpu]` was taken for a colour and vanished."""
    reason = "a part is missing: pip install -e '.[gpu]'"
    monkeypatch.setattr(sandbox, "isolation", lambda: sandbox.Isolation("none", [reason]))
    shown = CliRunner().invoke(app, ["doctor"]).stdout
    assert reason in shown and INSTALL not in shown
