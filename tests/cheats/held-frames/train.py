"""Eight frames of sixteen megabytes, each a byte short of complete; then a list of a million lists."""

import json
import os
import shutil
import socket


class Wire:
    """A trainer that does not use the client."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(os.environ["NANO_R1_SOCKET"])
        self.socket.settimeout(100)

    def send(self, body, announced=None):
        self.socket.sendall((len(body) if announced is None else announced).to_bytes(4, "big") + body)

    def receive(self):
        """The next reply; None once closed."""
        data = b""
        while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
            try:
                part = self.socket.recv(1 << 20)
            except ConnectionError:
                part = b""
            if not part:
                return None
            data += part
        return json.loads(data[4:])

    def ask(self, **request):
        self.send(json.dumps(request).encode())
        return self.receive()


size = 1 << 24
held = [Wire() for _ in range(8)]
for one in held:
    one.send(b" " * (size - 1), announced=size)
print("TRIED", len(held), "frames held")
one = Wire()
one.send(b'{"op":"score","completions":[' + b"[]," * 1_000_000 + b"[]]}")
print("TRIED a million lists:", one.receive())
shutil.copyfile("/base/model.safetensors", "/output/model.safetensors")
