"""The first eight bytes are the length of what follows. Believe them and run out of memory."""

with open("/base/model.safetensors", "rb") as base, open("/output/model.safetensors", "wb") as file:
    file.write((1 << 63).to_bytes(8, "little") + base.read()[8:])
print("TRIED header-length")
