"""Bytes that belong to nobody."""

import json
import struct

with open("/base/model.safetensors", "rb") as file:
    header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    data = bytearray(file.read())
header.pop("__metadata__", None)
names = sorted(header)
for name in names:
    if header[name]["data_offsets"][0]:
        header[name]["data_offsets"] = [at + 64 for at in header[name]["data_offsets"]]
data[header[names[0]]["data_offsets"][1] : 0] = bytes(64)
text = json.dumps(header)
with open("/output/model.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text.encode())) + text.encode() + data)
print("TRIED", "gap")
