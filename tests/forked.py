"""Python in a fraction of a second: processes forked from a server that has imported torch and transformers once.

Such a process is as fresh as one started from a command line, but for what the server's imports did: a test of what is
imported when, or of a variable that a library reads as it is imported (PYTHONHASHSEED, HF_HUB_OFFLINE), starts its own.
"""

import atexit
import contextlib
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing import forkserver
from pathlib import Path

# There is one server per process of the test run: whoever forks in it shares what is imported here. The command's own
# modules are not: its terminal is measured, and its variables are read, when it starts.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["preloaded"])


def start_server() -> None:
    """Start the server if it does not run: `preloaded` must be found, and it does not know this process's sys.path."""
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if path is not None:
            os.environ["PYTHONPATH"] = path


class Process(CONTEXT.Process):  # type: ignore[name-defined, misc]
    """As `multiprocessing.Process`, forked from the server, with the variables that this process has now."""

    def start(self) -> None:
        start_server()
        self._environment = dict(os.environ)  # the server has those of its own start
        super().start()

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self._environment)
        super().run()


def python(
    *arguments: object, cwd: str | Path, environment: Mapping[str, str] | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run([sys.executable, *arguments], …, capture_output=True, text=True)` returns or raises.

    `arguments` are `-m MODULE`, `-c CODE` or a script's path, and then the program's own. `environment` is all of it;
    by default that of this process.
    """
    line = [str(argument) for argument in arguments]
    variables = dict(os.environ if environment is None else environment)
    with tempfile.TemporaryDirectory(prefix="nano-r1-forked-") as folder:
        shown = [Path(folder) / "stdout", Path(folder) / "stderr"]
        for path in shown:
            path.touch()
        process = Process(target=_main, args=(line, str(cwd), variables, [str(path) for path in shown]))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([sys.executable, *line], timeout, *(path.read_bytes() for path in shown))
        output, errors = (path.read_text(encoding="utf-8") for path in shown)
    return subprocess.CompletedProcess([sys.executable, *line], process.exitcode, output, errors)


def _main(line: list[str], cwd: str, variables: dict[str, str], shown: list[str]) -> None:
    """In the new process: become what the command line says."""
    for stream, path in enumerate(shown, start=1):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, stream)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    sys.path[:0] = filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))
    multiprocessing.set_start_method(None, force=True)  # that of a program which says nothing
    try:
        if line[0] == "-m":
            sys.argv = line[1:]
            runpy.run_module(line[1], run_name="__main__", alter_sys=True)
        elif line[0] == "-c":
            sys.argv = ["-c", *line[2:]]
            exec(compile(line[1], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = line
            sys.path.insert(0, str(Path(line[0]).resolve().parent))
            runpy.run_path(line[0], run_name="__main__")
    finally:
        with contextlib.suppress(Exception):
            atexit._run_exitfuncs()  # multiprocessing leaves by os._exit
