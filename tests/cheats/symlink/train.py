"""A link that the harness would follow, on the host, as root."""

import os

WEIGHTS = "/output/model.safetensors"
os.symlink("/etc/shadow", WEIGHTS)
print("TRIED a symbolic link to", os.readlink(WEIGHTS))
