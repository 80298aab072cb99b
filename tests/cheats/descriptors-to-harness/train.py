"""SCM_RIGHTS: descriptors that come with a message land in the table of whoever asks for them."""

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


body = json.dumps({"op": "hello", "protocol": 1, "rank": 0, "world": 1}).encode()
wire = Wire()
for part in (len(body).to_bytes(4, "big"), body):
    socket.send_fds(wire.socket, [part], [0] * 250)
print("TRIED 500 descriptors:", "ok" in wire.receive())
shutil.copyfile("/base/model.safetensors", "/output/model.safetensors")
