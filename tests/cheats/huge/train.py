"""Writes weights until the disk is full."""

WEIGHTS = "/output/model.safetensors"
try:
    with open(WEIGHTS, "wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))
except OSError as error:
    print("TRIED to fill it:", error.strerror)
