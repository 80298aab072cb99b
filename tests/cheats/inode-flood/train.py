"""They take no room on a disk, but memory."""

import itertools
import os

print("TRIED a million files", flush=True)
for number in itertools.count():
    os.close(os.open(f"/output/{number}", os.O_CREAT))
    os.close(os.open(f"/tmp/{number}", os.O_CREAT))
