"""scripts/machine.sh: each distribution gets the commands that work there."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from needs import needs_sandbox

from harness.tracks.track import ROOT


def said(script: str, **variables: str) -> str:
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail; source scripts/machine.sh; {script}"],
        cwd=ROOT, env=os.environ | variables, capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize(
    ("distribution", "wanted"),
    [
        ("ubuntu 22.04", "python3.12-venv"),
        ("ubuntu 24.04", "python3-venv"),
        ("debian 12", "python3-venv"),
        ("", "python3-venv"),
    ],
)
def test_a_python_that_the_distribution_has(distribution: str, wanted: str) -> None:
    """Ubuntu 22.04's python3-venv is for its Python 3.10: installing it would lead nowhere."""
    text = said(f"distribution() {{ echo '{distribution}'; }}; python_advice")
    assert wanted in text
    assert ("ppa:deadsnakes" in text) == (distribution == "ubuntu 22.04")


def test_the_compiler_and_the_headers_of_the_python_that_is_used(tmp_path: Path) -> None:
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    here = said(f"compile_packages {sys.executable}")
    assert ("-dev" in here) == (not headers.is_file())
    for name in ("bash", "cat"):
        (tmp_path / name).symlink_to(f"/bin/{name}")
    bare = said(f"PATH={tmp_path}; compile_packages {sys.executable}").split()
    assert bare[:2] == ["gcc", "libc6-dev"]
    (tmp_path / "python").write_text(
        "#!/bin/sh\ncat >/dev/null; echo 3.12\n", encoding="utf-8"
    )  # that finds no Python.h
    (tmp_path / "python").chmod(0o755)
    assert "python3.12-dev" in said(f"compile_packages {tmp_path}/python")


@needs_sandbox
def test_where_the_sandbox_works_there_is_no_advice() -> None:
    assert said("sandbox_advice") == ""


def test_ubuntu_22_04_has_a_bubblewrap_that_is_too_old() -> None:
    text = said("bwrap_version() { echo 0.6.1; }; sandbox_advice")
    assert text.startswith("bubblewrap 0.6.1 is too old, the sandbox needs 0.8 or newer")
    for version in ("0.8.0", "0.9.0", "0.11.0"):
        assert said(f"bwrap_version() {{ echo {version}; }}; namespaces_work() {{ true; }}; sandbox_advice") == ""


def test_ubuntu_24_04_gets_a_profile_for_bubblewrap() -> None:
    restricted = "bwrap_version() { echo 0.9.0; }; namespaces_work() { false; }; namespaces_restricted() { true; }; "
    text = said(restricted + "sandbox_advice")
    assert "AppArmor" in text and "scripts/bwrap.apparmor" in text and (ROOT / "scripts/bwrap.apparmor").is_file()
    other = restricted.replace("namespaces_restricted() { true", "namespaces_restricted() { false")
    assert said(other + "sandbox_advice") == ""  # another cause: `nano-r1 doctor` says which
