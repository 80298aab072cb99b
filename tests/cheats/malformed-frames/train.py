"""Bytes that are no frame, no JSON, no object, no request; each on its own connection, then all again."""

import json
import os
import shutil
import socket

from harness.client import connect


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


deep, hello = b"[" * 100_000, b'{"op":"hello","protocol":1,"rank":0,"world":1}'
frames = [
    b"", b"null", b"0", b"[]", b'""', b"{", b"{}{}", b"nan", b"\xff\xfe", b"\x00" * 1000, deep, deep + b"]" * 100_000,
    b'{"op":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_001, b'{"op":1e400}', b'{"op":NaN}', b'{"op":-Infinity}',
    b'{"op":' + b"9" * 100_000 + b"}", b'{"op":"hello","op":"hello"}', hello[:-1], hello.replace(b"1,", b"1.0,"),
    hello.replace(b"0,", b"true,"), hello.replace(b"0,", b"-1,"), hello.replace(b'"world":1', b'"world":10000000000'),
    hello.replace(b"hello", b"\\u0000"), b'{"op":"score","completions":[]}', b'{"op":"prompts","n":1}',
    b'{"op":"__class__"}', b'{"op":["hello"]}', b'{"op":"hello","protocol":1,"rank":0,"world":1,"more":1}',
    "{\"op\":\"\ud800\"}".encode("utf-8", "surrogatepass"), b'{"op":"\\ud800"}', b"\xef\xbb\xbf{}", b"{'op':'hello'}",
]  # fmt: skip
answers = {"error": 0, "ok": 0, "silence": 0}
for _ in range(3):
    for body in frames:
        wire = Wire()
        wire.send(body)
        reply = wire.receive()
        answers["silence" if reply is None else "error" if "error" in reply else "ok"] += 1
        wire.socket.close()
for size in ((1 << 24) + 1, (1 << 32) - 1):
    wire = Wire()
    wire.send(b"x", announced=size)
    print("TRIED a frame of", size, "bytes:", wire.receive())
print("TRIED malformed frames:", answers, "of", 3 * len(frames))
run = connect()
print("TRIED a good one after them:", len(run.prompts(2)))
shutil.copyfile(run.base / "model.safetensors", run.output / "model.safetensors")
