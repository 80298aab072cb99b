"""/base is the same folder for every run of every submission."""

import ctypes
import os
import shutil

libc = ctypes.CDLL(None, use_errno=True)
path = "/base/model.safetensors"


def tried(what, do, *arguments):
    try:
        do(*arguments)
        print(f"TRIED {what}: done")
    except OSError as error:
        print(f"TRIED {what}: {error.strerror}")


tried("opening it to write", open, path, "r+b")
tried("unlink", os.unlink, path)
tried("rename", os.rename, path, "/base/old")
tried("chmod", os.chmod, path, 0o666)
tried("truncate", os.truncate, path, 0)
tried("a new file", open, "/base/note", "w")
tried("a hard link out", os.link, path, "/output/link")
tried("through /proc/self/root", open, "/proc/self/root/base/config.json", "r+b")
fd = os.open(path, os.O_RDONLY)
tried("reopening it to write", os.open, f"/proc/self/fd/{fd}", os.O_RDWR)
result = libc.mount(b"none", b"/base", None, 32 | 4096, None)  # MS_REMOUNT | MS_BIND, without MS_RDONLY
print(f"TRIED remounting it writable: {os.strerror(ctypes.get_errno()) if result else 'done'}")
shutil.copyfile(path, "/output/model.safetensors")
