"""Variables that change how programs start: they hold for its own children, not for the harness."""

import os
import shutil
import sys

if "AGAIN" not in os.environ:
    more = {"AGAIN": "1", "LD_PRELOAD": "/tmp/no-such.so", "PYTHONSTARTUP": "/tmp/startup.py", "PYTHONINSPECT": "",
            "PYTHONPATH": "/tmp:/opt/nano-r1", "LD_LIBRARY_PATH": "/tmp", "TZ": "Nowhere/At_All",
            "NANO_R1_SOCKET": os.environ["NANO_R1_SOCKET"], "NANO_R1_TRACK": "easy"}  # fmt: skip
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **more})

from harness.client import connect

run = connect()
print("TRIED variables:", os.environ["LD_PRELOAD"], "budget", run.budget_seconds)
shutil.copyfile(run.base / "model.safetensors", run.output / "model.safetensors")
