"""Opening a FIFO waits for a writer, and for ever."""

import os

WEIGHTS = "/output/model.safetensors"
os.mkfifo(WEIGHTS)
print("TRIED a pipe:", os.path.exists(WEIGHTS))
