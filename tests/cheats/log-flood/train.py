"""Prints until somebody stops it."""

print("TRIED ten gigabytes", flush=True)
for _ in range(10_000):
    print("x" * 1_000_000)
