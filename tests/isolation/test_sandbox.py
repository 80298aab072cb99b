"""Real sandboxes: what a submission can do in one, how it can fail, and what it is billed."""

from __future__ import annotations

import ast
import dataclasses
import os
import platform
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from needs import needs_sandbox
from sandbox_place import LIMITS, Place, both_levels

from harness.isolation import command_line, sandbox
from harness.isolation.budgets import CoreTime
from harness.isolation.meter import Cgroup
from harness.isolation.sandbox import Hooks, Level, Mounts, SandboxError

DAEMON = "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n  {}\n os._exit(0)\n"


# ---------------------------------------------------------------- when all goes well


@both_levels
def test_a_run_is_billed_and_its_log_kept(place: Place, level: Level) -> None:
    program = "import sys, time\nprint('hello', flush=True)\nprint('there', file=sys.stderr)\nbytearray(60 << 20)\n"
    usage = place.run(program + "while time.process_time() < 0.3: pass", level)
    assert (usage.failure, usage.exit_code, usage.log) == (None, 0, b"hello\nthere\n")
    assert usage.wall_ms >= 300 and usage.cpu_ms >= 300
    assert 60 << 20 <= usage.peak_memory_bytes < 200 << 20


@needs_sandbox
def test_inside_are_the_client_the_folders_and_a_clean_environment(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_OF_THE_HOST", "secret")
    (place.base / "config.json").write_text("{}", encoding="utf-8")
    usage = place.run(
        "import harness.client, os, tempfile\n"
        "print(sorted(os.listdir(os.path.dirname(harness.client.__file__))))\n"
        "print(os.getcwd(), os.listdir('/base'), os.getuid() != 0, os.uname().nodename)\n"
        "print(*sorted(os.environ))\ntempfile.TemporaryFile().write(b'x')\n"
    )
    assert usage.failure is None, usage
    listing, where, variables = usage.log.decode().splitlines()
    assert listing == "['__init__.py', 'client.py']"
    assert where == "/submission ['config.json'] True nano-r1"
    assert variables == (
        "HF_HUB_OFFLINE HOME LANG OMP_NUM_THREADS PATH PYTHONDONTWRITEBYTECODE PYTHONHASHSEED PYTHONPATH "
        "PYTHONUNBUFFERED TOKENIZERS_PARALLELISM USER"
    )


@both_levels
def test_the_environments_socket_is_reachable(place: Place, level: Level) -> None:
    place.socket = place.folder / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place.socket))
        server.listen()
        code = "import os, socket\ns = socket.socket(socket.AF_UNIX)\ns.connect(os.environ['NANO_R1_SOCKET'])\n"
        assert place.run(code + "s.send(b'hi')", level).failure is None
        with server.accept()[0] as connection:
            assert connection.recv(10) == b"hi"


@needs_sandbox
def test_only_the_weights_come_out(place: Place) -> None:
    code = "for name in ['model.safetensors', 'other']: open(f'/output/{name}', 'wb').write(name.encode())"
    assert place.run(code).failure is None
    assert [(path.name, path.read_bytes()) for path in place.output.iterdir()] == [
        ("model.safetensors", b"model.safetensors")
    ]


@both_levels
def test_start_and_ticks_are_told(place: Place, level: Level) -> None:
    calls: list[int] = []
    usage = place.run("import time; time.sleep(0.6)", level, hooks=Hooks(lambda: calls.append(-1), calls.append))
    assert calls[0] == -1 and len(calls) >= 4
    assert calls == sorted(calls) and calls[-1] <= usage.wall_ms


@both_levels
def test_helpers_that_leave_within_the_grace_are_no_failure_but_are_on_the_clock(place: Place, level: Level) -> None:
    usage = place.run(DAEMON.format("time.sleep(0.5); os._exit(0)"), level)
    assert usage.failure is None
    assert usage.wall_ms >= 500


# ---------------------------------------------------------------- how it can fail


@both_levels
def test_a_crash_and_a_signal(place: Place, level: Level) -> None:
    usage = place.run("raise RuntimeError('loss is nan')", level)
    assert (usage.failure, usage.exit_code) == ("exited with code 1", 1)
    assert b"loss is nan" in usage.log
    usage = place.run("import os; os.abort()", level)
    assert (usage.failure, usage.exit_code) == ("was killed by signal 6 (Aborted)", -6)


@both_levels
def test_a_background_process_is_found_killed_and_on_the_clock(
    place: Place, level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "GRACE_SECONDS", 0.6)
    usage = place.run("print('done')\n" + DAEMON.format("while True: pass"), level)
    assert usage.failure == "left 1 process running after its main process exited"
    assert (usage.exit_code, usage.log) == (0, b"done\n")
    assert usage.wall_ms >= 600 and usage.cpu_ms >= 200


HEADLESS = (
    "import ctypes, threading\n"
    "threading.Thread(target=time.sleep, args=[60]).start()\n"
    "ctypes.CDLL(None).syscall(60, 0)"  # SYS_exit of the first thread
)
HOPPING = "while os.fork() == 0 or os._exit(0): pass"


@needs_sandbox
@pytest.mark.parametrize("program", [HEADLESS, HOPPING], ids=["headless", "hopping"])
def test_a_daemon_that_no_listing_shows_is_found(place: Place, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "GRACE_SECONDS", 0.6)
    usage = place.run(f"import os, time\nif os.fork():\n os._exit(0)\nos.setsid()\n{program}")
    assert usage.failure is not None and usage.failure.endswith("running after its main process exited")


@needs_sandbox
def test_no_signal_keeps_the_supervisor_from_counting(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "GRACE_SECONDS", 0.6)
    usage = place.run(DAEMON.format("time.sleep(0.1); [os.kill(1, n) for n in range(1, 65)]; time.sleep(60)"))
    assert usage.failure == "left 1 process running after its main process exited"


@needs_sandbox
def test_a_supervisor_that_dies_before_it_has_counted_fails_the_run(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = command_line.SUPERVISOR
    mortal = source.replace("    left = 0 if childless", "    raise SystemExit\n    left = 0 if childless")
    assert mortal != source
    monkeypatch.setattr(command_line, "SUPERVISOR", mortal)
    usage = place.run("pass")
    assert (usage.exit_code, usage.failure) == (
        0,
        "its supervisor was gone before it had counted what was left running",
    )


CALLS = """
import ctypes, os, resource, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    return os.strerror(ctypes.get_errno()) if libc.syscall(*arguments) < 0 else "done"
for kind in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):
    socket.socket(kind, socket.SOCK_DGRAM).close()
for number in range(64):
    try:
        socket.socket(number, socket.SOCK_STREAM).close()
        print("family", number)
    except OSError:
        pass
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
try:
    resource.prlimit(1, resource.RLIMIT_NOFILE)
except OSError as error:
    print("another's limits:", error.strerror)
print(call(248, b"user", b"note", b"x", 1, -3), call(250, 0, -3, 1), call(425, 8, None), call(321, 0, None, 0))
print(call(0x40000000 + 39))
"""


@needs_sandbox
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of calls are those of x86-64")
def test_calls_that_no_namespace_divides_are_refused(place: Place) -> None:
    usage = place.run(CALLS)
    assert usage.failure is None, usage.log
    assert usage.log.decode().splitlines() == [
        "family 1", "family 2", "family 10", "another's limits: Operation not permitted",
        "Operation not permitted Operation not permitted Function not implemented Operation not permitted",
        "Function not implemented",
    ]  # fmt: skip


SPIN = """
import os, time
print(len(os.sched_getaffinity(0)), flush=True)
for _ in range(4):
    os.fork()  # sixteen in the end: more than a core's worth also on a busy machine
until = time.monotonic() + 1.5
while time.monotonic() < until:
    pass
try:
    while True:
        os.wait()
except ChildProcessError:
    pass
"""
needs_two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this machine has one core")


@both_levels
@needs_two_cores
def test_a_run_begins_on_the_cores_of_its_track(place: Place, level: Level) -> None:
    before = os.sched_getaffinity(0)
    usage = place.run(SPIN, level)
    assert (usage.failure, usage.log) == (None, b"1\n")
    assert usage.cpu_ms <= usage.wall_ms + 20
    assert os.sched_getaffinity(0) == before


@both_levels
@needs_two_cores
def test_a_run_that_takes_more_cores_than_its_track_gives_has_failed(place: Place, level: Level) -> None:
    taking = SPIN.replace("for", "os.sched_setaffinity(0, range(os.cpu_count()))\nfor", 1)
    for _ in range(20):  # on a busy machine it may not get the cores that it takes
        usage = place.run(taking, level)
        if usage.failure:
            break
    assert re.fullmatch(r"took \d+ ms of CPU in \d+ ms, and the track gives 1 core", str(usage.failure)), usage


@needs_two_cores
def test_cores_are_counted_by_the_window(place: Place) -> None:
    """An hour of idling does not pay for a second of many cores."""
    cores = CoreTime(2, time.monotonic() - 3600)
    assert cores.failure(lambda: 1000) is None
    cores.since -= 1
    assert cores.failure(lambda: 3000) is None
    cores.since -= 1
    assert cores.failure(lambda: 5500) == "took 2500 ms of CPU in 1000 ms, and the track gives 2 cores"


@both_levels
def test_over_the_wall_budget(place: Place, level: Level) -> None:
    usage = place.run("import time; time.sleep(60)", level, dataclasses.replace(LIMITS, seconds=1))
    assert (usage.failure, usage.exit_code) == ("over the budget of 1 s", None)
    assert 1000 <= usage.wall_ms < 3000


@needs_sandbox
def test_a_memory_bomb(place: Place) -> None:
    usage = place.run("blocks = []\nwhile True: blocks.append(bytearray(1 << 24))")
    assert usage.failure == "out of memory: the budget is 268435456 bytes"
    # A child that is killed for memory fails the run too, though the main process would go on.
    child = "import os, time\nif os.fork() == 0:\n bytearray(1 << 29)\ntime.sleep(10)"
    usage = place.run(child)
    assert usage.failure == "out of memory: the budget is 268435456 bytes"
    assert usage.wall_ms < 5000


@needs_sandbox
def test_a_fork_bomb(place: Place) -> None:
    bomb = "import os\nwhile True:\n try: os.fork()\n except OSError: pass"
    usage = place.run(bomb, limits=dataclasses.replace(LIMITS, seconds=1))
    assert usage.failure == "over the budget of 1 s"
    assert usage.wall_ms < 4000
    usage = place.run("import os, time\nfor _ in range(99):\n if os.fork() == 0: time.sleep(9)")
    assert usage.failure is not None and "running after its main process exited" in usage.failure


@needs_sandbox
def test_a_program_that_fails_for_want_of_processes_is_told_so(place: Place) -> None:
    code = "from threading import Thread\nimport time\nfor _ in range(50): "
    code += "Thread(target=time.sleep, args=[0.5], daemon=True).start()"
    assert place.run(code).failure == "exited with code 1, after it met the limit of 24 processes and threads"


@both_levels
def test_a_log_flood(place: Place, level: Level) -> None:
    usage = place.run("while True: print('x' * 1000000)", level)
    assert usage.failure == "log over 65536 bytes"
    assert usage.log == b"x" * 65536


@needs_sandbox
@pytest.mark.parametrize(
    "program",
    [
        "open('/output/model.safetensors', 'wb').write(bytes(1 << 21))",
        "open('/output/model.safetensors', 'wb').truncate(1 << 40)",  # sparse
        "try: open('/output/other', 'wb').write(bytes(1 << 21))\nexcept OSError: pass",
        "for i in range(300): open(f'/output/{i}', 'wb').write(bytes(4096))",
    ],
)
def test_an_output_flood(place: Place, program: str) -> None:
    usage = place.run(program)
    assert usage.failure == "output over 1048576 bytes"
    assert list(place.output.iterdir()) == []


@needs_sandbox
def test_output_may_be_filled_to_the_budget(place: Place) -> None:
    usage = place.run("open('/output/model.safetensors', 'wb').write(bytes(1 << 20))")
    assert usage.failure is None
    assert (place.output / "model.safetensors").stat().st_size == 1 << 20


def test_an_output_flood_at_level_none(place: Place) -> None:
    program = f"import os\nos.chdir({str(place.output)!r})\nfor i in range(3): open(str(i), 'wb').write(bytes(1 << 19))"
    assert place.run(program, "none").failure == "output over 1048576 bytes"


@needs_sandbox
@pytest.mark.parametrize(
    "program",
    [
        "os.symlink('/etc/shadow', '/output/model.safetensors')",
        "os.mkfifo('/output/model.safetensors')",
        "os.mkdir('/output/model.safetensors')",
        "open('/output/a', 'w'); os.link('/output/a', '/output/model.safetensors')",
    ],
)
def test_weights_that_are_no_plain_file(place: Place, program: str) -> None:
    usage = place.run("import os\n" + program)
    assert usage.failure is not None and usage.failure.startswith("model.safetensors is not a plain file")
    assert list(place.output.iterdir()) == []


@both_levels
def test_cancel_ends_it_at_once(place: Place, level: Level) -> None:
    cancel = threading.Event()
    threading.Timer(0.5, cancel.set).start()
    usage = place.run("import time; time.sleep(60)", level, hooks=Hooks(cancel=cancel))
    assert usage.failure == "cancelled"
    assert usage.wall_ms < 2500


@needs_sandbox
def test_an_exception_in_a_callback_goes_up_and_nothing_is_left(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Cgroup] = []
    create = Cgroup.create

    def remember(memory_bytes: int, processes: int) -> Cgroup:
        made.append(create(memory_bytes, processes))
        return made[-1]

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Cgroup, "create", remember)
    with pytest.raises(KeyboardInterrupt):
        place.run("import time; time.sleep(60)", hooks=Hooks(on_tick=interrupt))
    assert made[0].is_empty() and not any(file.exists() for file in made[0].join_files())


def alive(marker: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in path.read_bytes():
                return True
        except OSError:
            continue
    return False


@both_levels
def test_a_verifier_killed_with_sigkill_takes_its_sandbox_with_it(place: Place, level: Level) -> None:
    marker = f"marker-{os.getpid()}-{level}"
    (place.submission / "train.py").write_text(
        f"import subprocess\nsubprocess.Popen(['/bin/sh', '-c', 'sleep 60; : {marker}'], start_new_session=True)\n"
        "print('up', flush=True)\nimport time; time.sleep(60)",
        encoding="utf-8",
    )
    code = (
        "from pathlib import Path\nfrom harness.isolation.sandbox import *\n"
        f"mounts = Mounts(*map(Path, {[str(place.submission), str(place.base), str(place.output)]!r}), None)\n"
        f"run(['train.py'], mounts=mounts, limits={LIMITS!r}, level={level!r})"
    )
    verifier = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 15
    while not alive(marker):
        assert time.monotonic() < deadline and verifier.poll() is None
        time.sleep(0.05)
    verifier.send_signal(signal.SIGKILL)
    verifier.wait()
    deadline = time.monotonic() + 4
    while alive(marker):
        assert time.monotonic() < deadline, "the sandbox outlived its verifier"
        time.sleep(0.02)


# ---------------------------------------------------------------- devices


OPEN = """
import os, sys
node, folder, link = sys.argv[1:]
for path in (node, "/dev/kmsg"):
    try:
        with open(path, "r+b", buffering=0) as device:
            print(device.read(3), device.write(b"x"))
    except OSError as error:
        print(error.strerror)
print(os.environ.get("LD_LIBRARY_PATH"), os.path.exists(folder), os.path.realpath(link))
"""


@needs_sandbox
@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device files")
def test_a_device_file_is_there_for_those_who_ask_and_for_nobody_else(place: Place) -> None:
    node, folder = place.folder / "zero", place.folder / "driver"
    folder.mkdir(mode=0o755)
    try:
        os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero by another name
        node.chmod(0o666)
        open(node, "rb").close()
    except OSError as error:
        pytest.skip(f"no device file can be made here: {error}")
    link = "/sys/bus/nano-r1"
    devices = sandbox.Devices([node], [folder], {link: str(folder)}, {"LD_LIBRARY_PATH": str(folder)})
    (place.submission / "train.py").write_text(OPEN, encoding="utf-8")
    mounts = Mounts(place.submission, place.base, place.output, None)
    argv = ["train.py", str(node), str(folder), link]
    usage = sandbox.run(argv, mounts=mounts, limits=LIMITS, level="full", devices=devices)
    none = "No such file or directory"
    assert usage.log.decode().splitlines() == ["b'\\x00\\x00\\x00' 1", none, f"{folder} True {folder}"]
    usage = sandbox.run(argv, mounts=mounts, limits=LIMITS, level="full")
    assert usage.log.decode().splitlines() == [none, none, f"None False {link}"]


@both_levels
def test_the_clock_waits_for_what_is_held_elsewhere(place: Place, level: Level) -> None:
    usage = place.run("", level, hooks=Hooks(wait_until_free=lambda: time.sleep(0.7)))
    assert usage.failure is None and usage.wall_ms >= 700
    held = Hooks(wait_until_free=lambda: "GPU 0 is held by process 7")
    usage = place.run("", level, hooks=held)
    assert usage.failure == "GPU 0 is held by process 7"
    usage = place.run("raise SystemExit(3)", level, hooks=held)
    assert usage.failure == "exited with code 3"  # what came first is the reason


# ---------------------------------------------------------------- when the machine, not the submission, fails


@pytest.mark.skipif(os.geteuid() != 0, reason="as a normal user everything one owns is readable")
@needs_sandbox
def test_an_unreadable_submission_is_the_verifiers_error(place: Place) -> None:
    (place.submission / "secret.py").write_text("", encoding="utf-8")
    (place.submission / "secret.py").chmod(0o600)
    with pytest.raises(SandboxError, match=r"secret.py is not readable by the sandbox user.*0600.*chmod -R go\+rX"):
        place.run("pass")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@needs_sandbox
def test_a_python_in_a_closed_home_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "python3").write_text("", encoding="utf-8")
    monkeypatch.setattr(sys, "executable", str(home / "python3"))
    isolation = sandbox.isolation()
    assert isolation.level == "none"
    assert "is not readable by the sandbox user" in isolation.reasons[0] and "/usr/bin/python3" in isolation.reasons[0]


def test_without_bubblewrap_the_reason_is_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    isolation = sandbox.isolation()
    assert isolation.level == "none"
    assert isolation.reasons[0].startswith("bubblewrap is not installed: sudo apt-get install")


@needs_sandbox
def test_a_sandbox_that_does_not_start_is_no_failure_of_the_submission(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = command_line.bwrap
    monkeypatch.setattr(command_line, "bwrap", lambda limits, binds: [*sound(limits, binds), "--no-such-option"])
    with pytest.raises(SandboxError, match=r"did not start.*no-such-option"):
        place.run("pass")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become a user without cgroups")
def test_a_user_without_cgroups_gets_level_none_and_still_a_bill(place: Place) -> None:
    (place.submission / "train.py").write_text(
        "while True:\n if __import__('time').process_time() > 0.2: break", encoding="utf-8"
    )
    code = (
        "from pathlib import Path\nfrom harness.isolation.sandbox import *\n"
        f"mounts = Mounts(*map(Path, {[str(place.submission), str(place.base), str(place.output)]!r}), None)\n"
        f"limits = {LIMITS!r}\nprint(isolation().level)\n"
        "try: run(['train.py'], mounts=mounts, limits=limits, level='full')\n"
        "except SandboxError as error: print('refused', error)\n"
        "usage = run(['train.py'], mounts=mounts, limits=limits, level='none')\n"
        "print(usage.exit_code, usage.cpu_ms >= 200, usage.peak_memory_bytes > 1 << 20)"
    )
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", code]
    done = subprocess.run(user, cwd=Path(__file__).parents[2], capture_output=True, encoding="utf-8")
    if "Permission denied" in done.stderr:
        pytest.skip("the repository is in a folder that other users may not enter")
    level, refused, bill = done.stdout.splitlines()
    assert level == "none"
    assert refused.startswith("refused no cgroup for peak memory")
    assert bill == "0 True True"


# ---------------------------------------------------------------- how soon it starts


def test_the_supervisor_imports_nothing_that_takes_long() -> None:
    """Its start is the sandbox's; enum and re alone take as long as the namespaces."""
    tree = ast.parse(command_line.SUPERVISOR)
    imports = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    code = "\n".join([*imports, "import sys", "print(*sys.modules)"])
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert len(imports) >= 8 and imports[0] == "from __future__ import annotations"
    assert not {"enum", "re", "functools", "json", "typing", "subprocess"} & set(done.stdout.split())
