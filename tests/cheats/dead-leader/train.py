"""exit(2) of the thread-group leader alone: /proc calls the process a zombie while a thread trains on."""

import ctypes
import os
import shutil
import threading
import time


def train():
    time.sleep(1.5)
    with open("/proc/self/stat") as file:
        state = file.read().rpartition(")")[2].split()[0]
    shutil.copyfile("/base/model.safetensors", "/output/model.safetensors")
    print(f"TRIED to train on in state {state}", flush=True)
    os._exit(0)


threading.Thread(target=train).start()
ctypes.CDLL(None).syscall(60, 0)  # SYS_exit, of this thread only
