"""The filter of system calls: what namespaces do not divide, and a few calls with which much is broken."""

from __future__ import annotations

import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager

FAMILIES = [1, 2, 10, 16]  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: those that the network namespace divides
# By machine: the number seccomp knows it by, then those of the calls below.
CALLS = {
    "x86_64": {
        "arch": 0xC000003E, "socket": 41, "prlimit64": 302, "add_key": 248, "request_key": 249, "keyctl": 250,
        "perf_event_open": 298, "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425,
    },
    "aarch64": {
        "arch": 0xC00000B7, "socket": 198, "prlimit64": 261, "add_key": 217, "request_key": 218, "keyctl": 219,
        "perf_event_open": 241, "bpf": 280, "userfaultfd": 282, "io_uring_setup": 425,
    },
}  # fmt: skip


@contextmanager
def filter_descriptor() -> Iterator[int]:
    """A descriptor to read the filter from. Each sandbox has its own, because reading moves the position."""
    descriptor = os.memfd_create("nano-r1-filter")
    try:
        os.write(descriptor, bpf_program(CALLS.get(platform.machine(), CALLS["x86_64"])))
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def bpf_program(numbers: dict[str, int]) -> bytes:
    """The filter in classic BPF, see seccomp(2). Refused calls fail with an error that programs know to expect.

    io_uring is refused because it makes sockets behind the filter's back; prlimit64 on another process because
    the supervisor's limits are open to any process of its uid.
    """
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    number, arch, first = 0, 4, 16  # offsets of what is loaded: the call, the machine, the low half of argument 0
    allow, kill, error = 0x7FFF0000, 0x80000000, 0x00050000

    def line(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
        return struct.pack("<HBBI", code, then, otherwise, value)

    def only(call: str, permitted: list[int], number: int) -> bytes:
        """This call with one of these as its first argument, else the error."""
        tests = b"".join(line(equal, value, 0, 1) + line(give, allow) for value in permitted)
        body = line(load, first) + tests + line(give, error | number)
        return line(equal, numbers[call], 0, len(body) // 8) + body

    program = line(load, arch) + line(equal, numbers["arch"], 1) + line(give, kill) + line(load, number)
    program += line(at_least, 1 << 30, 0, 1) + line(give, error | 38)  # ENOSYS: the second table of x86 (x32)
    for call in ("add_key", "request_key", "keyctl", "perf_event_open", "bpf", "userfaultfd"):
        program += line(equal, numbers[call], 0, 1) + line(give, error | 1)  # EPERM
    program += line(equal, numbers["io_uring_setup"], 0, 1) + line(give, error | 38)
    program += only("socket", FAMILIES, 97)  # EAFNOSUPPORT
    program += only("prlimit64", [0], 1)  # 0: itself
    return program + line(give, allow)
