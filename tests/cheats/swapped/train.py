"""Every check of names, shapes and dtypes passes."""

import json
import struct

with open("/base/model.safetensors", "rb") as file:
    header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    data = bytearray(file.read())
header.pop("__metadata__", None)
names = sorted(header)
pairs = [name for name in names if name.endswith("q_proj.weight")]
one, two = header[pairs[0]], header[pairs[-1]]
one["data_offsets"], two["data_offsets"] = two["data_offsets"], one["data_offsets"]
text = json.dumps(header)
with open("/output/model.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text.encode())) + text.encode() + data)
print("TRIED", "swapped")
