"""What the doctor runs inside a sandbox to break out of it: everything that a submission might try.

It runs there from this file's text alone, behind which the doctor calls `probe`. Prints a Check as JSON a line.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import time

LIBC = ctypes.CDLL(None, use_errno=True)
# The variables that every sandbox sets, whatever the host's are.
EXPECTED = {
    "PATH", "HOME", "USER", "LANG", "LC_CTYPE", "PWD", "HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM", "PYTHONPATH",
    "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "OMP_NUM_THREADS",
}  # fmt: skip


def probe(host: dict) -> None:  # type: ignore[type-arg]
    """`host`: what there is outside, see `doctor.isolation_checks`."""
    try_network(host["port"])
    try_files(host["hidden"], host["readonly"])
    try_processes()
    try_environment(host["variables"])
    try_descriptors()
    try_supervisor()
    try_privileges()
    try_calls()
    try_clock()
    try_filling(host["capped"])
    try_forking()


def report(name: str, ok: bool, detail: object) -> None:
    print(json.dumps({"name": name, "ok": ok, "detail": str(detail)}))


def refused(result: int) -> tuple[bool, str]:
    """Of a call of the C library: was it refused, and in what words?"""
    return result != 0, os.strerror(ctypes.get_errno()) if result else "it was allowed"


def try_network(port: int) -> None:
    interfaces = [name for _, name in socket.if_nameindex()]
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1)
        report("network_refused", False, "reached a port of the host")
    except OSError as error:
        report("network_refused", interfaces == ["lo"], f"{error}; interfaces {interfaces}")


def try_files(hidden: list[str], readonly: list[str]) -> None:
    seen = []
    for path in hidden:
        try:
            os.stat(path)
            seen.append(path)
        except OSError:
            pass
    report("host_files_hidden", not seen, seen or f"{len(hidden)} paths tried")
    written = []
    for folder in readonly:
        try:
            os.close(os.open(f"{folder}/nano-r1-probe", os.O_CREAT | os.O_WRONLY))
            written.append(folder)
        except OSError:
            pass
    report("host_files_unwritable", not written, written or f"{len(readonly)} folders tried")


def try_processes() -> None:
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    report("host_processes_hidden", pids == [1, os.getpid()], f"sees processes {pids}")


def try_environment(variables: list[str]) -> None:
    leaked = set(os.environ) & set(variables) - EXPECTED
    try:
        with open("/proc/1/environ", encoding="utf-8") as file:
            leaked.add(f"/proc/1/environ is readable ({len(file.read())} bytes)")
    except OSError:
        pass
    report("environment_hidden", not leaked, sorted(leaked) or f"{len(variables)} variables looked for")


def try_descriptors() -> None:
    extra = []
    for number in range(3, 256):
        try:
            os.fstat(number)
            extra.append(number)
        except OSError:
            pass
    report("no_descriptors_inherited", not extra, extra or "0, 1 and 2 only")


def try_supervisor() -> None:
    os.kill(1, signal.SIGKILL)
    ok, why = refused(LIBC.ptrace(16, 1, 0, 0))  # PTRACE_ATTACH
    report("supervisor_untouchable", ok, f"SIGKILL ignored; ptrace: {why}")


def try_privileges() -> None:
    # MS_REMOUNT | MS_BIND, without MS_RDONLY
    report("remount_refused", *refused(LIBC.mount(b"none", b"/usr", None, 32 | 4096, None)))
    report("user_namespaces_refused", *refused(LIBC.unshare(0x10000000)))  # CLONE_NEWUSER
    status = own_status()
    powerless = status["NoNewPrivs"] == "1" and int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    nosuid = bool(os.statvfs("/usr").f_flag & os.ST_NOSUID)
    detail = f"uid {os.getuid()}, NoNewPrivs {status['NoNewPrivs']}, CapEff {status['CapEff']}, nosuid {nosuid}"
    report("setuid_gives_nothing", powerless and nosuid and os.getuid() != 0, detail)


def own_status() -> dict[str, str]:
    with open("/proc/self/status", encoding="utf-8") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def try_calls() -> None:
    allowed = [] if own_status()["Seccomp"] == "2" else ["no filter"]
    try:
        socket.socket(40, socket.SOCK_STREAM).close()  # AF_VSOCK: no namespace divides it
        allowed.append("a vsock")
    except OSError:
        pass
    try:
        resource.prlimit(1, resource.RLIMIT_NOFILE)
        allowed.append("the supervisor's limits")
    except OSError:
        pass
    report("calls_filtered", not allowed, allowed or "vsock and prlimit of another process refused")


def try_clock() -> None:
    try:
        time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME))
        report("clock_refused", False, "set the clock")
    except OSError as error:
        report("clock_refused", True, error.strerror)


def try_filling(capped: dict[str, int]) -> None:
    """`capped`: folders, and how many bytes each may hold. Too much is asked for at once: were it written bit by bit,
    the run could be ended for its full folder before the probe has cleared it."""
    uncapped = []
    for folder, size in capped.items():
        try:
            with open(f"{folder}/fill", "wb") as fill:
                os.posix_fallocate(fill.fileno(), 0, size + 1)
            uncapped.append(folder)
        except OSError:
            pass
        os.unlink(f"{folder}/fill")
    report("folders_capped", not uncapped, uncapped or ", ".join(capped))


def try_forking() -> None:
    children: list[int] = []
    try:
        while len(children) < 64:
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
    except OSError:
        pass
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    report("processes_limited", len(children) < 64, f"{len(children)} more could be started")
