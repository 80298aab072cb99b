"""A folder with the name of the file, and weights in it."""

import os
import shutil

WEIGHTS = "/output/model.safetensors"
os.mkdir(WEIGHTS)
shutil.copyfile("/base/model.safetensors", WEIGHTS + "/model.safetensors")
print("TRIED a folder:", os.listdir(WEIGHTS))
