"""Open and shut, without a word, and then as many as there are at once."""

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


for _ in range(1000):
    Wire().socket.close()
held, refused = [], 0
for _ in range(1000):
    try:
        held.append(Wire())
    except OSError:
        refused += 1
print("TRIED 2000 connections: open at once", len(held) + refused)
answers = []
for one in held[-20:]:
    try:
        answers.append(one.receive())
    except TimeoutError:
        answers.append("silence")
print("TRIED the last ones:", answers[-1])
for one in held:
    one.socket.close()
shutil.copyfile("/base/model.safetensors", "/output/model.safetensors")
