"""A submission's folder for the tests of the screen, and its findings."""

import base64
import random
import textwrap

from harness.screen.check import screen
from harness.tracks.track import ROOT

MANIFEST = 'name = "mine"\ntrack = "cpu-logic"\ntitle = "t"\nchange = "c"\ncontributors = ["ada"]\n'
REFERENCE = (ROOT / "baseline" / "train.py").read_text(encoding="utf-8")
PACKAGES = frozenset({"torch", "transformers"})

RANDOM = random.Random(1)
NOISE = RANDOM.randbytes(4096)
BASE64 = base64.b64encode(NOISE).decode()
MUCH = RANDOM.randbytes(20_000).hex()
PROSE = textwrap.fill(
    (ROOT / "docs" / "verification.md").read_text(encoding="utf-8"), 80
)  # long text is no packed data


def folder_of(place, source="", **files):
    """A submission folder: train.py, a good manifest, and other files by name (`/` allowed)."""
    folder = place / "mine"
    for name, content in {"train.py": source, "submission.toml": MANIFEST, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def codes(findings):
    return {entry.code for entry in findings}


def code(source):
    return {"train.py": source}


def look(files):
    return screen({name: text.encode() for name, text in files.items()}, PACKAGES, REFERENCE)
