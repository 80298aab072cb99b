"""What does a track's preload save, and what does its baseline still import on the clock?

    python scripts/measure/preload.py TRACK [MODULE ...]

One short step of the track's baseline in the sandbox, with these modules preloaded (default: the track's) and without,
in turn. Late: what is imported after the clock has started, in seconds; the list is long enough when that is under 0.2.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from harness.environment.server import Environment
from harness.environment.training import development_key
from harness.isolation import sandbox
from harness.tracks.track import ROOT, Track, load
from harness.verify.clock import Clock
from harness.verify.run import sandbox_limits

ROUNDS = 3
# Stands before the baseline's first line: times each import that no other import asked for.
WATCH = """
import _frozen_importlib as _machinery, atexit as _atexit, time as _time
_load, _depth, _late = _machinery._load_unlocked, [0], []
def _timed(spec):
    begun = _time.perf_counter()
    _depth[0] += 1
    try:
        return _load(spec)
    finally:
        _depth[0] -= 1
        if not _depth[0]:
            _late.append((_time.perf_counter() - begun, spec.name))
_machinery._load_unlocked = _timed
@_atexit.register
def _tell():
    print("LATE", sum(seconds for seconds, _ in _late), *(f"{n} {s:.3f}" for s, n in sorted(_late)[::-1][:4]), sep=";")
"""


def short_baseline(track: Track, folder: Path) -> None:
    """The baseline with one step of eight questions, which tells what it imports late."""
    shutil.copytree(ROOT / track.baseline.folder, folder)
    program = folder / "train.py"
    text = re.sub(r"(?m)^STEPS = \d+", "STEPS = 1", program.read_text(encoding="utf-8"))
    program.write_text(WATCH + re.sub(r"(?m)^PROMPTS = \d+", "PROMPTS = 8", text), encoding="utf-8")


def run(track: Track, submission: Path, place: Path, modules: Sequence[str]) -> str:
    place.mkdir(mode=0o755)
    (place / "output").mkdir()
    clock, called, begun = Clock(), time.monotonic(), []

    def start() -> None:
        clock.start()
        begun.append(time.monotonic() - called)

    with Environment(track, development_key(0), 0, place / "s", "/base", "/output", clock.elapsed_ms):
        usage = sandbox.run(
            ["train.py"],
            mounts=sandbox.Mounts(submission, track.base_folder, place / "output", place / "s"),
            limits=sandbox_limits(track),
            level="full",
            hooks=sandbox.Hooks(on_start=start),
            preload=modules,
        )
    log = usage.log.decode(errors="replace")
    if usage.failure:
        raise SystemExit(f"{usage.failure}\n{log[-2000:]}")
    late, *worst = log.rpartition("LATE;")[2].strip().split(";")
    memory = usage.peak_memory_bytes >> 20
    return (
        f"{begun[0]:5.2f} s before the clock, then {usage.wall_ms / 1000:5.2f} s, {usage.cpu_ms / 1000:5.2f} s of CPU, "
        f"{memory} MiB; late {float(late):.3f} s ({', '.join(worst)})"
    )


def main() -> None:
    track = load(sys.argv[1])
    modules = sys.argv[2:] or track.budget.preload
    with tempfile.TemporaryDirectory(prefix="nano-r1-") as name:
        work = Path(name)
        work.chmod(0o755)
        short_baseline(track, work / "baseline")
        for number in range(ROUNDS):
            for what, names in (("preload", modules), ("without", ())):
                print(f"{what}: {run(track, work / 'baseline', work / f'{what} {number}', names)}", flush=True)


if __name__ == "__main__":
    main()
