"""Pid 1 inside the sandbox: starts the trainer, waits for it and its helpers, counts what is left and ends it.

It runs inside the sandbox from this file's text alone, behind which the command line calls `supervise`. So it imports
nothing of ours, and of Python's library only what is written in C: the modules around _signal and _socket, and json,
import enum and re, and these take longer than the namespaces and the rest of Python together; the start would double.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import _socket as socket
import array
import ctypes
import os
import resource
import select
import time


def supervise(channel: int, plan: dict) -> None:  # type: ignore[type-arg]
    """Run the plan's argv to its end and exit. `channel`: the descriptor of a socket whose other end the harness has.

    Reports there, a JSON object a line: ready (with a descriptor of the output folder); where modules are preloaded,
    loaded, the CPU milliseconds that it took, and then waits for a byte there; exit, the main process's code; left,
    how many processes outlived the grace, with what all children used.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one signal that Python would let through to a pid 1
    harness = socket.socket(fileno=channel)
    os.set_inheritable(channel, False)
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: out of the trainer's reach
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans come to us at level none too
    main = start(harness, plan)
    childless = wait(harness, main, plan["grace_seconds"])
    # One that forks and exits all the time is in no listing of /proc; that there is a child, waitpid has said.
    left = 0 if childless else max(1, len(descendants()))
    kill_descendants()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_ms, peak = round((used.ru_utime + used.ru_stime) * 1000), used.ru_maxrss * 1024
    report(harness, [], left=left, cpu_ms=cpu_ms, peak_memory_bytes=peak)
    os._exit(0)


def report(harness: socket.socket, descriptors: list[int], **numbers: int) -> None:
    line = ", ".join(f'"{name}": {number}' for name, number in numbers.items())
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
    harness.sendmsg([f"{{{line}}}\n".encode()], [rights])


def start(harness: socket.socket, plan: dict) -> int:  # type: ignore[type-arg]
    """Set the limits, hand out a descriptor of the output folder, start the trainer. Returns its process id."""
    for name, value in plan["rlimits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    output = os.open(plan["output"], os.O_RDONLY | os.O_DIRECTORY)
    os.chdir(plan["folder"])
    report(harness, [output], ready=1)
    os.close(output)
    normal = [signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ]
    environment = plan["environment"]
    ours, theirs = socket.socketpair()
    if modules := environment.get("NANO_R1_PRELOAD"):
        os.set_inheritable(theirs.fileno(), True)
        environment["NANO_R1_PRELOAD"] = f"{theirs.fileno()} {modules}"
    main = os.posix_spawn(plan["argv"][0], plan["argv"], environment, setsigdef=normal, setsigmask=[])
    theirs.close()
    if modules:
        hold(harness, ours)
    ours.close()
    return main


def hold(harness: socket.socket, interpreter: socket.socket) -> None:
    """Until the interpreter has imported the track's modules, and then until the harness says that it may go on.

    Earlier if the interpreter has ended or the harness wants the end: `wait` sees to both.
    """
    events = select.poll()
    events.register(harness, select.POLLIN)
    events.register(interpreter, select.POLLIN)
    if any(fd == harness.fileno() for fd, _ in events.poll()):
        return
    if spent := interpreter.recv(32):
        report(harness, [], loaded=int(spent))
        if harness.recv(1):
            interpreter.send(b"g")


def wait(harness: socket.socket, main: int, grace_seconds: float) -> bool:
    """Until no child is left: True; False if the grace after the main process runs out or the harness wants the end."""
    events = select.poll()
    events.register(harness, select.POLLIN)
    events.register(os.pidfd_open(main), select.POLLIN)
    ended = None
    childless = False
    while ended is None or not (childless or time.monotonic() - ended > grace_seconds):
        if any(fd == harness.fileno() for fd, _ in events.poll(200 if ended is None else 0)):
            break  # the harness wants the end, or is dead
        if ended is not None:
            time.sleep(0.005)
        try:
            while (reaped := os.waitpid(-1, os.WNOHANG))[0]:
                if reaped[0] == main:
                    ended = time.monotonic()
                    report(harness, [], exit=os.waitstatus_to_exitcode(reaped[1]))
        except ChildProcessError:
            childless = True
    return childless


def descendants() -> list[int]:
    """Ids of the living processes that descend from this one."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:  # its name may be any bytes
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue  # gone meanwhile
        if fields[0] not in "ZX" or int(fields[17]) > 1:  # the first thread may be gone while others work
            parents[int(name)] = int(fields[1])
    family = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sorted(family - {os.getpid()})


def kill_descendants() -> None:
    for _ in range(400):
        for pid in descendants():
            os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            break
        time.sleep(0.005)
