"""Cgroups: real ones where this machine grants them, the kernel's text formats everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.isolation import meter
from harness.isolation.meter import Cgroup, MeterError

REASON = meter.unavailable()
needs_cgroup = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@pytest.fixture
def group() -> Iterator[Cgroup]:
    group = Cgroup.create(memory_bytes=1 << 27, processes=16)
    yield group
    group.remove()


def started(group: Cgroup, program: str) -> subprocess.Popen[bytes]:
    """A Python process that joins the group first, as the sandbox's launcher does."""
    join = "".join(f"echo $$ > {file} && " for file in group.join_files())
    return subprocess.Popen(["/bin/sh", "-c", f'{join}exec "$@"', "sh", sys.executable, "-c", program])


def until_empty(group: Cgroup, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not group.is_empty():
        assert time.monotonic() < deadline, "the group did not become empty"
        time.sleep(0.01)


@needs_cgroup
def test_cpu_of_a_daemon_is_billed_though_rusage_misses_it(group: Cgroup) -> None:
    daemon = "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n"
    assert started(group, daemon + "  while time.process_time() < 0.4: pass").wait() == 0
    until_empty(group)
    assert group.cpu_ms() >= 400


@needs_cgroup
def test_memory_is_measured_and_limited(group: Cgroup) -> None:
    assert started(group, "bytearray(50 << 20)").wait() == 0
    assert 50 << 20 <= group.peak_memory_bytes() < 100 << 20
    assert group.oom_kills() == 0
    assert started(group, "bytearray(200 << 20)").wait() == -9
    assert group.oom_kills() == 1
    assert group.peak_memory_bytes() <= 1 << 27


@needs_cgroup
def test_processes_are_limited_and_all_killed(group: Cgroup) -> None:
    bomb = "import os, time\nwhile True:\n try: os.fork()\n except OSError: time.sleep(0.01)"
    process = started(group, bomb)
    deadline = time.monotonic() + 5
    while not group.refused_forks() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert group.refused_forks() > 0
    assert len(group.processes()) == 16
    group.kill_all()
    process.wait()
    until_empty(group)


@needs_cgroup
def test_a_process_that_has_joined_is_killed_with_the_group(group: Cgroup) -> None:
    assert group.is_empty()
    process = subprocess.Popen(["/bin/sleep", "30"])
    for file in group.join_files():
        file.write_text(str(process.pid), encoding="utf-8")
    assert group.processes() == [process.pid]
    group.remove()
    assert process.wait() == -9
    assert not any(file.exists() for file in group.join_files())


@needs_cgroup
def test_groups_of_a_dead_verifier_are_swept_and_those_of_a_live_one_are_not(group: Cgroup) -> None:
    code = (
        "import os, signal, subprocess\nfrom harness.isolation.meter import Cgroup\n"
        "group = Cgroup.create(1 << 27, 16)\nchild = subprocess.Popen(['/bin/sleep', '60'], stdout=-3)\n"
        "for file in group.join_files(): file.write_text(str(child.pid))\n"
        "print(*group.join_files(), flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    verifier = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
    stale = [Path(file.decode()) for file in verifier.stdout.split()]
    assert stale and all(file.exists() for file in stale)
    assert stale[0].read_text(encoding="utf-8").strip(), "its process is still alive"
    Cgroup.create(1 << 27, 16).remove()
    assert not any(file.exists() for file in stale)
    assert all(file.exists() for file in group.join_files())


# ---------------------------------------------------------------- v2, from files as Linux 6.1 writes them

V2_MOUNTS = "30 23 0:26 / {} rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def v2_tree(top: Path, controllers: dict[str, str]) -> None:
    for name, controllers_on in controllers.items():
        folder = top / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.procs").write_text("", encoding="utf-8")
        (folder / "cgroup.subtree_control").write_text(controllers_on, encoding="utf-8")


def test_v2_home_is_the_nearest_ancestor_that_hands_down_memory_and_pids(tmp_path: Path) -> None:
    v2_tree(tmp_path, {"": "cpu memory pids\n", "app.slice": "memory pids\n", "app.slice/term.scope": "memory pids\n"})
    (tmp_path / "app.slice/term.scope/cgroup.procs").unlink()  # not ours to move processes in
    homes = meter.find_homes(V2_MOUNTS.format(tmp_path), "0::/app.slice/term.scope\n")
    assert homes == dict.fromkeys(["memory", "pids", "cpu"], tmp_path / "app.slice")


def test_v2_in_a_container_whose_mount_shows_only_its_own_part(tmp_path: Path) -> None:
    v2_tree(tmp_path, {"": "memory pids\n"})
    mounts = V2_MOUNTS.replace("0:26 / ", "0:26 /docker/abc ").format(tmp_path)
    assert meter.find_homes(mounts, "0::/docker/abc\n")["memory"] == tmp_path


def test_hybrid_takes_limits_from_v1_and_cpu_from_v2(tmp_path: Path) -> None:
    mounts = ""
    for name, kind, option in [("memory", "cgroup", "memory"), ("pids", "cgroup", "pids"), ("u", "cgroup2", "")]:
        (tmp_path / name).mkdir()
        mounts += f"3 1 0:3 / {tmp_path / name} rw - {kind} {kind} rw,{option}\n"
    homes = meter.find_homes(mounts, "8:pids:/\n4:memory:/\n0::/\n")
    assert homes == {"memory": tmp_path / "memory", "pids": tmp_path / "pids", "cpu": tmp_path / "u"}


def test_v2_readings(tmp_path: Path) -> None:
    files = {
        "memory.events": "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n",
        "memory.current": "1000\n",
        "pids.events": "max 3\n",
        "cpu.stat": "usage_usec 1234567\nuser_usec 1\nsystem_usec 2\n",
        "cgroup.procs": "12\n34\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    group = Cgroup(dict.fromkeys(["memory", "pids", "cpu"], tmp_path))
    assert (group.oom_kills(), group.refused_forks(), group.cpu_ms(), group.processes()) == (1, 3, 1234, [12, 34])
    assert group.peak_memory_bytes() == 1000
    (tmp_path / "memory.current").write_text("10\n", encoding="utf-8")
    assert group.peak_memory_bytes() == 1000  # the highest seen, on a kernel without memory.peak
    (tmp_path / "memory.peak").write_text("5000\n", encoding="utf-8")
    assert group.peak_memory_bytes() == 5000


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become a user without cgroups")
def test_a_user_without_cgroups_is_told_what_is_not_metered() -> None:
    code = "from harness.isolation import meter; print(meter.unavailable())"
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", code]
    done = subprocess.run(user, cwd=Path(__file__).parents[2], capture_output=True, encoding="utf-8")
    if "Permission denied" in done.stderr:
        pytest.skip("the repository is in a folder that other users may not enter")
    assert "no cgroup for peak memory and the memory limit" in done.stdout
    assert "systemd-run --user" in done.stdout


def test_nothing_to_write_to_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "find_homes", lambda mountinfo, own: {"cpu": Path("/nowhere")})
    with pytest.raises(MeterError, match="memory limit, the limit on processes"):
        Cgroup.create(1, 1)
