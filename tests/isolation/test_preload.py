"""Real sandboxes whose interpreter imports modules before the clock starts: what is off the clock, and what is not."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest
from needs import needs_sandbox
from sandbox_place import LIMITS, Place, both_levels

from harness.isolation import preload
from harness.isolation.sandbox import Hooks, Level, SandboxError

# It burns 0.6 s of CPU time, and takes as much again of the clock.
SLOW = "import time\nwhile time.process_time() < 0.6: pass\ntime.sleep(0.6)\n"
ONE_SECOND = dataclasses.replace(LIMITS, seconds=1)


@pytest.fixture
def modules(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The place, with modules of a test's own beside the preloader: `slow`, and `large`, which does not fit."""
    folder = place.folder / "preloader"
    shutil.copytree(preload.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "slow.py").write_text(SLOW, encoding="utf-8")
    (folder / "large.py").write_text(f"bytearray({LIMITS.memory_bytes * 2})", encoding="utf-8")
    for path in [folder, *folder.iterdir()]:
        path.chmod(0o755)
    monkeypatch.setattr(preload, "FOLDER", folder)
    return place


# ---------------------------------------------------------------- the clock


@both_levels
def test_the_clock_and_the_bill_begin_when_the_modules_are_imported(modules: Place, level: Level) -> None:
    called, started = time.monotonic(), []
    hooks = Hooks(on_start=lambda: started.append(time.monotonic() - called))
    code = "import gc, slow, time\nassert gc.get_freeze_count()\nbegun = time.process_time()\n"
    code += "while time.process_time() < begun + 0.2: pass"
    usage = modules.run(code, level, ONE_SECOND, hooks, preload=["slow"])
    assert (usage.failure, usage.log) == (None, b"")
    assert started[0] >= 1.2 and time.monotonic() - called >= started[0] + usage.wall_ms / 1000
    assert 200 <= usage.wall_ms < 1000 and 200 <= usage.cpu_ms < 600


@needs_sandbox
def test_a_run_may_be_cancelled_while_its_modules_are_imported(modules: Place) -> None:
    cancel = threading.Event()
    threading.Timer(0.4, cancel.set).start()
    usage = modules.run("print('it ran')", hooks=Hooks(cancel=cancel), preload=["slow"])
    assert (usage.failure, usage.log) == ("cancelled", b"") and usage.wall_ms < 1000


# ---------------------------------------------------------------- an ordinary `python train.py` follows

ORDINARY = """
import inspect, json, multiprocessing, os, pickle, sys
NAMES = sorted(globals())

class Kept:
    pass

def seen(_=None):
    return os.getcwd(), os.getcwd.__name__, sorted(os.environ.items()), sys.path, sorted(os.listdir("/proc/self/fd"))

if __name__ == "__main__":
    print(NAMES, __file__, __spec__, __loader__.path, sys.argv, sys.orig_argv, sys.flags, len(inspect.stack()))
    print(seen(), multiprocessing.process.ORIGINAL_DIR, pickle.dumps(Kept()), sys.warnoptions, sys.gettrace())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(seen, [0]), flush=True)
    if os.fork() == 0:
        print(seen(), flush=True)
        os._exit(0)
    os.wait()
    json.loads("{")
"""
FOR_IT = ["inspect", "json", "multiprocessing.pool", "tempfile", "harness.client"]


@both_levels
def test_after_the_imports_all_is_as_in_an_ordinary_run(place: Place, level: Level) -> None:
    (place.submission / "sitecustomize.py").write_text("print('run by Python itself')", encoding="utf-8")
    plain, preloaded = (place.run(ORDINARY, level, preload=names) for names in ((), FOR_IT))
    assert plain.failure == preloaded.failure == "exited with code 1"
    assert plain.log.decode().splitlines()[-1].startswith("json.decoder.JSONDecodeError: Expecting property name")
    assert preloaded.log.decode() == plain.log.decode()


@both_levels
@pytest.mark.parametrize("code", ["raise SystemExit(3)", "import os; os.kill(os.getpid(), 2)", "import os; os.abort()"])
def test_it_ends_as_an_ordinary_run(place: Place, level: Level, code: str) -> None:
    plain, preloaded = (place.run(code, level, preload=names) for names in ((), ["json"]))
    assert plain.exit_code not in (0, None)
    assert (preloaded.exit_code, preloaded.failure, preloaded.log) == (plain.exit_code, plain.failure, plain.log)


@both_levels
def test_a_file_beside_train_py_stands_before_what_is_not_yet_imported_only(place: Place, level: Level) -> None:
    for name in ("json", "colorsys"):
        (place.submission / f"{name}.py").write_text("print(__name__, 'of the submission')", encoding="utf-8")
    code = "import json, colorsys\nprint(json.__file__, colorsys.__file__)"
    usage = place.run(code, level, preload=["json"])
    assert usage.log.decode().splitlines()[0] == "colorsys of the submission", usage.log
    assert usage.log.count(b"of the submission") == 1 and f"{json_file()} ".encode() in usage.log


def json_file() -> str:
    import json

    return json.__file__


# ---------------------------------------------------------------- when the imports fail, it is no submission's fault


@both_levels
def test_a_module_that_cannot_be_imported_is_named(place: Place, level: Level) -> None:
    (place.submission / "mine.py").write_text("", encoding="utf-8")
    with pytest.raises(SandboxError, match="could not import the track's modules: cannot import 'mine': ModuleNot"):
        place.run("print('it ran')", level, preload=["json", "mine"])


@needs_sandbox
def test_imports_that_take_too_long(modules: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preload, "SECONDS", 0.5)
    with pytest.raises(SandboxError, match=r"modules were not imported within 0\.5 s: json, slow"):
        modules.run("", preload=["json", "slow"])


@needs_sandbox
def test_imports_that_do_not_fit_into_the_memory_of_the_track(modules: Place) -> None:
    with pytest.raises(SandboxError, match="could not import the track's modules: out of memory: the budget is 268"):
        modules.run("", preload=["large"])


@needs_sandbox
@pytest.mark.skipif(os.geteuid() != 0, reason="as a normal user everything one owns is readable")
def test_a_preloader_that_python_would_pass_over_is_refused(modules: Place) -> None:
    (preload.FOLDER / "sitecustomize.py").chmod(0o600)
    with pytest.raises(SandboxError, match=r"sitecustomize\.py is not readable by the sandbox user"):
        modules.run("print('off the clock')", preload=["json"])


# ---------------------------------------------------------------- without a supervisor


def test_a_sitecustomize_of_the_machine_is_run_too_and_train_py_waits(place: Place) -> None:
    (place.base / "sitecustomize.py").write_text("import sys\nsys.machine = 'known'\n", encoding="utf-8")
    train = place.submission / "train.py"
    train.write_text("import sys\nprint(sys.machine, sys.modules['sitecustomize'].__file__)", encoding="utf-8")
    imports = preload.Imports(["json"], str(place.base))
    process = subprocess.Popen(
        [sys.executable, str(train)], env=imports.variables, pass_fds=[imports.descriptor],
        stdout=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    spent = imports.wait()
    assert spent is not None and 0 < spent < 5000
    train.write_text("print('too late')\n" + train.read_text(encoding="utf-8"), encoding="utf-8")  # not yet opened
    imports.go()
    assert process.communicate(timeout=20)[0] == f"too late\nknown {place.base / 'sitecustomize.py'}\n"
