"""Imports a track's packages before the clock starts: Python runs this before it so much as opens train.py.

Python imports `sitecustomize` at the end of its own start, when sys.path holds the standard library, the installed
packages and PYTHONPATH, and not yet the folder of the program. So no file of a submission can be imported here, and
what follows is an ordinary `python train.py`: its __main__, sys.argv, sys.path and tracebacks are Python's own work.

It needs nothing of ours. `harness.isolation.preload` says how it is started; whoever did so reads the milliseconds of
CPU time that it took, starts the clock and sends a byte. Should anything fail, the process ends: from an exception in
this module Python would go on to train.py, which nobody has started a clock for.
"""

import gc
import os
import sys
from importlib import import_module, util
from importlib.machinery import PathFinder


def preload(descriptor: int, modules: list[str]) -> None:
    """Import these, say so at the descriptor, wait for a byte there, and leave no trace."""
    ours, _, others = os.environ["PYTHONPATH"].partition(os.pathsep)
    os.environ["PYTHONPATH"] = others  # for children: they import what they need, as always
    run_the_machines_own([place for place in sys.path if place != ours])
    # Not in the submission's folder: a package may look for its settings where it is started. What a module remembers
    # of it (multiprocessing, where its children begin) is what it would be without us.
    here, getcwd = os.getcwd(), os.getcwd
    os.chdir("/")
    os.getcwd = lambda: here
    for name in modules:
        try:
            import_module(name)
        except BaseException as error:  # SystemExit too
            message = " ".join(str(error).split())
            give_up(f"cannot import {name!r}: {type(error).__name__}: {message}")
    os.getcwd = getcwd
    os.chdir(here)
    sys.path.remove(ours)
    sys.path_importer_cache.pop(ours, None)
    # The modules' hundreds of thousands of objects stay: every collection of garbage, and the end of Python, would go
    # through them, for a second or two of the clock.
    gc.collect()
    gc.freeze()
    os.write(descriptor, b"%d" % round(1000 * sum(os.times()[:4])))
    if not os.read(descriptor, 1):
        os._exit(1)  # whoever started it is gone
    os.close(descriptor)


def run_the_machines_own(path: list[str]) -> None:
    """A sitecustomize of the machine, in whose place Python found this one."""
    spec = PathFinder.find_spec("sitecustomize", path)
    if spec is not None and spec.loader is not None:
        sys.modules["sitecustomize"] = util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["sitecustomize"])


def give_up(message: str) -> None:
    os.write(2, f"{message}\n".encode())
    os._exit(1)


if "NANO_R1_PRELOAD" in os.environ:  # not in the children of a trainer
    try:
        number, *names = os.environ.pop("NANO_R1_PRELOAD").split()
        preload(int(number), names)
    except BaseException as error:
        give_up(f"the imports before the clock failed: {error!r}")
