"""Rank 0 of 2 posts rank 1's prompts, asks to be every rank, comes twice and changes the world."""

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


one, two = Wire(), Wire()
one.ask(op="hello", protocol=1, rank=0, world=2)
mine = one.ask(op="prompts", n=2)["ok"]
print("given", [row["id"] for row in mine])
print("TRIED another rank's id:", one.ask(op="score", completions=[["1", [1]]]))
print("TRIED the same rank again:", two.ask(op="hello", protocol=1, rank=0, world=2))
print("TRIED another world:", two.ask(op="hello", protocol=1, rank=1, world=64))
print("TRIED hello twice:", one.ask(op="hello", protocol=1, rank=1, world=2))
print("TRIED rank 2 of 2:", two.ask(op="hello", protocol=1, rank=2, world=2))
print("TRIED rank 1 of 2:", "ok" in two.ask(op="hello", protocol=1, rank=1, world=2))
for rank in range(64):
    Wire().ask(op="hello", protocol=1, rank=rank, world=64)
print("TRIED what rank 1 never got:", two.ask(op="score", completions=[["1", [1]]]))
shutil.copyfile("/base/model.safetensors", "/output/model.safetensors")
