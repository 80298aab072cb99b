"""What one claims to be, the other is."""

import json
import struct

with open("/base/model.safetensors", "rb") as file:
    header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    data = bytearray(file.read())
header.pop("__metadata__", None)
names = sorted(header)
one, two = [header[name] for name in names if header[name]["shape"] == [128]][:2]
two["data_offsets"] = one["data_offsets"]
text = json.dumps(header)
with open("/output/model.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text.encode())) + text.encode() + data)
print("TRIED", "overlap")
