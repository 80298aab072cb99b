"""Bytes after the last tensor, where a loader does not look."""

import os
import shutil

WEIGHTS = "/output/model.safetensors"
shutil.copyfile("/base/model.safetensors", WEIGHTS)
with open(WEIGHTS, "ab") as file:
    file.write(b"import os\n" * 100)
print("TRIED", os.stat(WEIGHTS).st_size, "bytes")
