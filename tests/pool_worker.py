"""A process for harness.answers.pool that only waits: `python -m tests.pool_worker`."""

from __future__ import annotations

import json
import os
import sys
import time

print("ready", flush=True)
for line in sys.stdin:
    question = json.loads(line)
    time.sleep(question["sleep"])
    print(json.dumps({"slept": question["sleep"], "pid": os.getpid()}), flush=True)
