"""It looks like the right name and is another."""

import json
import struct

with open("/base/model.safetensors", "rb") as file:
    header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    data = bytearray(file.read())
header.pop("__metadata__", None)
names = sorted(header)
header[names[0].replace(".", ".\u200b", 1)] = header.pop(names[0])
text = json.dumps(header)
with open("/output/model.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text.encode())) + text.encode() + data)
print("TRIED", "bidi-name")
