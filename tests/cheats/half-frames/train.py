"""Slow loris: connections that announce sixteen megabytes and never send them, left open to the end."""

import json
import os
import shutil
import socket


class Wire:
    """A trainer that does not use the client."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(os.environ["NANO_R1_SOCKET"])
        self.socket.settimeout(10)

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


first = Wire()
print("hello", "ok" in first.ask(op="hello", protocol=1, rank=0, world=1))
held = []
for _ in range(100):
    one = Wire()
    try:
        one.send(b"{", announced=1 << 24)
    except OSError:
        pass
    held.append(one)
print("TRIED connection 101:", Wire().receive())
reply = first.ask(op="prompts", n=2)
print("TRIED the first one meanwhile:", len(reply["ok"]))
shutil.copyfile("/base/model.safetensors", "/output/model.safetensors")
