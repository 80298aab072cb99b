"""/proc/PID/cmdline of everything it can see: the supervisor's is open, and must be worth nothing."""

import os
import shutil

for name in sorted(filter(str.isdigit, os.listdir("/proc"))):
    for file in ("cmdline", "comm", "status", "cgroup", "mountinfo", "stat"):
        try:
            with open(f"/proc/{name}/{file}", "rb") as opened:
                text = opened.read()
            print(f"TRIED /proc/{name}/{file}: {len(text)} bytes")
            print(text.replace(b"\0", b" ").decode(errors="replace"))
        except OSError as error:
            print(f"TRIED /proc/{name}/{file}: {error.strerror}")
shutil.copyfile("/base/model.safetensors", "/output/model.safetensors")
