"""Anonymous memory."""

print("TRIED memory", flush=True)
blocks = []
while True:
    blocks.append(bytearray(b"x" * (1 << 24)))
