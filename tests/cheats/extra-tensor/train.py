"""A tensor that the base model does not have, empty, with a name that reads backwards."""

import json
import struct

with open("/base/model.safetensors", "rb") as file:
    header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    data = bytearray(file.read())
header.pop("__metadata__", None)
names = sorted(header)
header["\u202emodel.\u200bevil\x1b[31m"] = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
text = json.dumps(header)
with open("/output/model.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text.encode())) + text.encode() + data)
print("TRIED", "extra-tensor")
