"""The header promises what does not come."""

import os

WEIGHTS = "/output/model.safetensors"
with open("/base/model.safetensors", "rb") as base, open(WEIGHTS, "wb") as file:
    file.write(base.read()[:-1000])
print("TRIED", os.stat(WEIGHTS).st_size, "bytes")
