"""Why no sandbox starts on this machine, each cause with its own remedy."""

from __future__ import annotations

from pathlib import Path

from harness.isolation.command_line import HARNESS, SANDBOX_ID, unreadable

KERNEL = Path("/proc/sys/kernel")
PERMANENT = "(and a line in /etc/sysctl.d to keep it)"
ELSEWHERE = "use a virtual machine, a machine of your own, or a container started with `--privileged`"


def closed_folder(python: Path) -> str | None:
    """Why the sandbox user cannot read the repository or this Python, and what to do; None if it can."""
    if reason := unreadable(HARNESS / "client.py"):
        return (
            f"{reason}. Keep the repository where others may enter, such as /opt or /srv, or let them enter that "
            "folder with `chmod o+x`"
        )
    if reason := unreadable(python):
        return (
            f"{reason}. Delete .venv and run scripts/setup.sh again with a Python that others can read, such as "
            "/usr/bin/python3"
        )
    return None


def missing_uid(uid_map: str) -> str | None:
    """Why root cannot become the sandbox user, from the text of /proc/self/uid_map, see user_namespaces(7); or None."""
    ranges = [(int(first), int(count)) for first, _, count in map(str.split, uid_map.splitlines())]
    if any(first <= SANDBOX_ID < first + count for first, count in ranges):
        return None
    return (
        f"the uid map of this container has no uid {SANDBOX_ID}, as which the sandbox runs. Start the container with "
        "a map of 65,536 ids (rootless Docker and Podman: a line NAME:100000:65536 in /etc/subuid and in /etc/subgid) "
        "or run outside of it"
    )


def explained(said: str) -> str:
    """What bubblewrap or setpriv said when it did not start a process, with what causes that here and what to do."""
    return f"bubblewrap does not work here ({said}): {_remedy(said)}"


def _remedy(said: str) -> str:
    if "Unknown option" in said or "unrecognized option" in said:
        return "it is too old, 0.8 or newer is needed, as in Debian 12 or Ubuntu 24.04"
    if "No space left on device" in said:
        return f"no more user namespaces are allowed; run `sudo sysctl -w user.max_user_namespaces=15000` {PERMANENT}"
    if "/proc" in said:
        return f"this container hides parts of /proc; {ELSEWHERE}"
    if not any(
        word in said for word in ("uid map", "gid map", "RTM_NEWADDR", "namespace", "ermission", "not permitted")
    ):
        return "run `nano-r1 doctor` again; if it stays, report it with this line"
    if _setting("apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor forbids user namespaces, as Ubuntu does from 24.04 on; run "
            f"`sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` {PERMANENT}"
        )
    if _setting("unprivileged_userns_clone") == "0":
        return (
            f"the kernel forbids user namespaces; run `sudo sysctl -w kernel.unprivileged_userns_clone=1` {PERMANENT}"
        )
    return f"this container forbids user namespaces; {ELSEWHERE}"


def _setting(name: str) -> str | None:
    try:
        return (KERNEL / name).read_text(encoding="ascii").strip()
    except OSError:
        return None
