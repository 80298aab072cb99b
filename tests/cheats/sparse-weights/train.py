"""The right size, but the tensors were never written: they read as zeros."""

import os

WEIGHTS = "/output/model.safetensors"
with open("/base/model.safetensors", "rb") as base, open(WEIGHTS, "wb") as file:
    size = int.from_bytes(base.read(8), "little")
    base.seek(0)
    file.write(base.read(8 + size))
    file.truncate(os.stat("/base/model.safetensors").st_size)
print("TRIED", os.stat(WEIGHTS).st_blocks * 512, "of", os.stat(WEIGHTS).st_size, "bytes")
