"""The duplicate is inside an entry."""

import json
import struct

with open("/base/model.safetensors", "rb") as file:
    header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    data = bytearray(file.read())
header.pop("__metadata__", None)
names = sorted(header)
entry = json.dumps(header[names[0]])
text = json.dumps(header).replace(entry, entry[:-1] + ', "shape": [1]}', 1)
with open("/output/model.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text.encode())) + text.encode() + data)
print("TRIED", "duplicate-inner-keys")
