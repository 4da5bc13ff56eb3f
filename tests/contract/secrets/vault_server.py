"""A small HTTP server that follows Vault's documentation: AppRole, tokens, a key-value engine of version 2.

What it does is by "KV secrets engine - version 2 (API)", "AppRole auth method (API)", "Token auth method
(API)" and the status codes of "HTTP API".
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

ROLE, SECRET_ID, ROOT = "the-role", "the-secret-id", "hvs.root"
MOUNT = "kv"


@dataclass
class Entry:
    """One secret."""

    created: str
    versions: list[dict[str, Any]] = field(default_factory=list)
    values: list[dict[str, str]] = field(default_factory=list)
    custom: dict[str, str] | None = None


@dataclass
class Vault:
    """What it holds, and how it misbehaves.

    Attributes:
        lease_s: of tokens that AppRole gives.
        requests: method and path of each, in order.
        sealed: it answers 503.
        denied: paths that begin so are forbidden.
        before_write: what somebody else does between a client's reading and its writing, once.
    """

    url: str = ""
    lease_s: int = 3600
    renewable: bool = True
    sealed: bool = False
    denied: str = "\0"
    tokens: set[str] = field(default_factory=lambda: {ROOT})
    entries: dict[str, Entry] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    intruder: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _made: int = 0

    def answer(self, method: str, target: str, token: str, body: Any) -> tuple[int, Any]:
        """Status and JSON."""
        with self._lock:
            path = unquote(urlsplit(target).path).removeprefix("/v1/")
            listing = "list=true" in urlsplit(target).query
            self.requests.append((method, path))
            if self.sealed:
                return 503, {"errors": ["Vault is sealed"]}
            if path == "auth/approle/login":
                return self._log_in(body)
            if token not in self.tokens or path.startswith(self.denied):
                return 403, {"errors": ["permission denied"]}
            if path == "auth/token/renew-self":
                return 200, {"auth": self._auth(token)}
            mount, _, rest = path.partition("/")
            kind, _, key = rest.partition("/")
            if mount != MOUNT or kind not in ("data", "metadata"):
                return 404, {"errors": [f'no handler for route "{path}"']}
            if kind == "data":
                return self._read(key) if method == "GET" else self._write(key, body)
            if listing:
                return self._list(key)
            return self._metadata(method, key, body)

    def put(self, key: str, value: dict[str, str]) -> int:
        """A further version; its number."""
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "123Z")
        entry = self.entries.setdefault(key, Entry(now))
        entry.versions.append({"created_time": now, "deletion_time": "", "destroyed": False})
        entry.values.append(value)
        return len(entry.versions)

    def _log_in(self, body: Any) -> tuple[int, Any]:
        if body != {"role_id": ROLE, "secret_id": SECRET_ID}:
            return 400, {"errors": ["invalid role or secret ID"]}
        self._made += 1
        token = f"hvs.{self._made}"
        self.tokens.add(token)
        return 200, {"auth": self._auth(token)}

    def _auth(self, token: str) -> dict[str, Any]:
        return {"client_token": token, "lease_duration": self.lease_s, "renewable": self.renewable}

    def _read(self, key: str) -> tuple[int, Any]:
        entry = self.entries.get(key)
        if entry is None or not entry.versions:
            return 404, {"errors": []}
        metadata = {**entry.versions[-1], "version": len(entry.versions), "custom_metadata": entry.custom}
        if metadata["deletion_time"]:
            return 404, {"data": {"data": None, "metadata": metadata}}
        return 200, {"data": {"data": entry.values[-1], "metadata": metadata}}

    def _write(self, key: str, body: Any) -> tuple[int, Any]:
        if self.intruder:
            self.put(key, {"value": self.intruder})
            self.intruder = ""
        entry = self.entries.get(key)
        if body["options"]["cas"] != (0 if entry is None else len(entry.versions)):
            return 400, {"errors": ["check-and-set parameter did not match the current version"]}
        version = self.put(key, body["data"])
        return 200, {"data": {**self.entries[key].versions[-1], "version": version}}

    def _list(self, folder: str) -> tuple[int, Any]:
        prefix = f"{folder.rstrip('/')}/"
        rest = [key.removeprefix(prefix) for key in self.entries if key.startswith(prefix)]
        keys = sorted({f"{name.partition('/')[0]}{'/' if '/' in name else ''}" for name in rest})
        return (200, {"data": {"keys": keys}}) if keys else (404, {"errors": []})

    def _metadata(self, method: str, key: str, body: Any) -> tuple[int, Any]:
        entry = self.entries.get(key)
        if method == "DELETE":
            self.entries.pop(key, None)
            return 204, None
        if entry is None:
            return 404, {"errors": []}
        if method == "POST":
            entry.custom = body["custom_metadata"]
            return 204, None
        numbered = {str(number): each for number, each in enumerate(entry.versions, 1)}
        return 200, {
            "data": {
                "created_time": entry.created,
                "updated_time": entry.versions[-1]["created_time"],
                "current_version": len(entry.versions),
                "custom_metadata": entry.custom,
                "versions": numbered,
            }
        }


@contextmanager
def serving(vault: Vault, tls: ssl.SSLContext | None = None) -> Iterator[Vault]:
    """Serve on a free port of the loopback during the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: two would wait for one another's acknowledgement

        def _any(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size) or b"null")
            token = self.headers.get("X-Vault-Token", "")
            status, found = vault.answer(self.command, self.path, token, body)
            data = b"" if found is None else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _any  # noqa: N815 - the names are the base class's

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as in the base class
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        vault.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield vault
        finally:
            server.shutdown()
            thread.join()
