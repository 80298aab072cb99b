"""SIGSTOP: the process uses no CPU and does not exit."""

import os
import signal

print("TRIED SIGSTOP", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
