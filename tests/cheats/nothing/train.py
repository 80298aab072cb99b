"""The right weights under every name but the right one."""

import os
import shutil

WEIGHTS = "/output/model.safetensors"
for name in (
    "MODEL.SAFETENSORS",
    "model.safetensors ",
    "model.safetensors\n",
    "model.bin",
    "mod\u0435l.safetensors",
    "\u202emodel.safetensors",
):
    shutil.copyfile("/base/model.safetensors", f"/output/{name}")
print("TRIED", len(os.listdir("/output")), "names")
