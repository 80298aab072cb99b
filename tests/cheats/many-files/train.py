"""Each under every limit, together over it."""

WEIGHTS = "/output/model.safetensors"
try:
    for number in range(100_000):
        with open(f"/output/{number}", "wb") as file:
            file.write(bytes(4096))
except OSError as error:
    print("TRIED small files:", error.strerror)
