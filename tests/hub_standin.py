"""A Hub on this machine: a real HTTP server that answers huggingface_hub as the Hub does, from bytes in memory.

What it copies: HEAD and GET of /datasets/OWNER/NAME/resolve/REVISION/FILE, and of a model without /datasets, with
X-Repo-Commit and ETag, big files redirected to another host with X-Linked-Etag and X-Linked-Size, the X-Error-Code of
each refusal, a gate that a token opens, the refusal of a token that is no token, a disabled repository, a relative
redirect for a renamed one, /api/datasets/OWNER/NAME, and raw files as GitHub serves them (/OWNER/NAME/REVISION/FILE,
404 for what is not there). Headers and codes are those that huggingface_hub 1.33 reads in `utils/_http.py`.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from harness.benchmarks import BENCHMARKS, remote

TOKEN = "hf_a_token_that_was_granted_access"
OTHER_TOKEN = "hf_a_token_of_somebody_else"  # valid, and without access to what is gated
BIG = 50_000  # bytes from which a file is stored in Git LFS and so redirected


@dataclass
class Repository:
    commits: dict[str, dict[str, bytes]]  # revision -> files; the last is the newest
    gated: bool = False
    disabled: bool = False


@dataclass
class Hub:
    """`with Hub() as hub`: fill `repositories`, then load from `hub.url`."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    status: int | None = None  # answer everything with this
    cut: int | None = None  # send only so many bytes of a file, then hang up
    requests: list[str] = field(default_factory=list)

    def __enter__(self) -> Hub:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub._answer(self, body=False)

            def do_GET(self) -> None:
                hub._answer(self, body=True)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler, *, body: bool) -> None:
        path = handler.path.partition("?")[0]
        self.requests.append(f"{handler.command} {path}")

        def reply(status: int, data: bytes = b"", **headers: str) -> None:
            handler.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            if body:
                handler.wfile.write(data if self.cut is None else data[: self.cut])
                if self.cut is not None and len(data) > self.cut:
                    handler.close_connection = True

        def refuse(status: int, code: str, message: str) -> None:
            reply(status, b"", X_Error_Code=code, X_Error_Message=message)

        if self.status is not None:
            return reply(self.status, b"the Hub is unwell")
        parts = path.strip("/").split("/")
        if parts[0] == "cdn":
            return reply(200, self.repositories["/".join(parts[1:3])].commits[parts[3]]["/".join(parts[4:])])
        model = parts[2:3] == ["resolve"]
        if not model and parts[0] not in ("datasets", "api"):  # GitHub
            name, revision, file = "/".join(parts[:2]), parts[2], "/".join(parts[3:])
            known = self.repositories.get(name, Repository({})).commits.get(revision, {})
            return reply(200, known[file]) if file in known else reply(404, b"404: Not Found")
        name = "/".join(parts[:2] if model else parts[1:3] if parts[0] == "datasets" else parts[2:4])
        if name in self.renamed:
            return reply(307, Location=handler.path.replace(name, self.renamed[name], 1))
        if name not in self.repositories:  # the Hub does not tell strangers whether a repository exists
            return refuse(401, "RepoNotFound", "Repository not found")
        repository, authorization = self.repositories[name], handler.headers.get("Authorization")
        if authorization not in (None, f"Bearer {TOKEN}", f"Bearer {OTHER_TOKEN}"):
            return reply(401, X_Error_Message="Invalid credentials in Authorization header")
        if repository.disabled:
            return reply(403, X_Error_Message="Access to this resource is disabled.")
        if parts[0] == "api":
            newest = list(repository.commits)[-1]
            data = json.dumps({"_id": "0", "id": name, "sha": newest, "siblings": [], "private": False})
            return reply(200, data.encode(), Content_Type="application/json")
        if repository.gated and authorization != f"Bearer {TOKEN}":
            return refuse(401 if authorization is None else 403, "GatedRepo", f"Access to {name} is restricted.")
        at = 3 if model else 4
        revision, file = parts[at], "/".join(parts[at + 1 :])
        if revision not in repository.commits:
            return refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if file not in repository.commits[revision]:
            return refuse(404, "EntryNotFound", "Entry not found")
        data = repository.commits[revision][file]
        digest = hashlib.sha256(data).hexdigest()
        common = {"X_Repo_Commit": revision, "ETag": f'"{digest}"', "Accept_Ranges": "bytes"}
        if len(data) < BIG:
            return reply(200, data, **common)
        location = f"{self.url.replace('127.0.0.1', 'localhost')}/cdn/{name}/{revision}/{file}"
        reply(302, b"", **common, X_Linked_Etag=f'"{digest}"', X_Linked_Size=str(len(data)), Location=location)
        return None


@contextmanager
def reached(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Hub]:
    """A Hub that the libraries take for the real one: nobody's token, and caches of its own under `folder`."""
    with Hub() as standin:
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_ENDPOINT", standin.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(folder / "hub"))
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(folder / "no token"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # read when imported, by whichever test
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        monkeypatch.setattr(remote, "GITHUB", standin.url)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)  # huggingface_hub tries again five times, 23 s
        yield standin


def serve(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, *, rows: int | None = None, gated: bool = False
) -> None:
    """The set on the stand-in. With `rows` it is another file than the pinned one, and is pinned anew."""
    source = BENCHMARKS[name].source
    (path,) = source.files
    if rows is not None:
        source = replace(source, files={path: hashlib.sha256(data).hexdigest()}, rows=rows, sha256=None)
        monkeypatch.setitem(BENCHMARKS, name, replace(BENCHMARKS[name], source=source))
    hub.repositories[source.repo] = Repository({str(source.revision): {path: data}}, gated=gated)


def parquet(rows: list[dict[str, Any]]) -> bytes:
    """As the Hub stores it: written by datasets, with its features in the file's metadata."""
    datasets = pytest.importorskip("datasets", reason=remote.INSTALL)
    file = io.BytesIO()
    datasets.Dataset.from_list(rows).to_parquet(file)
    return file.getvalue()
