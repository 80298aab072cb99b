"""Whoever holds the other name could change it after the check."""

import os
import shutil

WEIGHTS = "/output/model.safetensors"
shutil.copyfile("/base/model.safetensors", "/output/other")
os.link("/output/other", WEIGHTS)
print("TRIED", os.stat(WEIGHTS).st_nlink, "names")
