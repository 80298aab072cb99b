"""/proc calls a process whose first thread has exited a zombie, though another thread of it trains on."""

import ctypes
import os
import shutil
import threading
import time


def train():
    time.sleep(0.5)
    with open("/proc/self/stat") as file:
        state = file.read().rpartition(")")[2].split()[0]
    print(f"TRIED to train on as a daemon in state {state}", flush=True)
    time.sleep(60)
    os._exit(0)


shutil.copyfile("/base/model.safetensors", "/output/model.safetensors")
if os.fork() == 0:
    os.setsid()
    threading.Thread(target=train).start()
    ctypes.CDLL(None).syscall(60, 0)  # SYS_exit, of this thread only
os._exit(0)
