"""Repositories that are fetched for somebody who is not on this host."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aetherium.domain.errors import InvalidInput, SourceFailed
from aetherium.domain.jobs import GitSource
from aetherium.process import spawned
from aetherium.sources import guarding, remote
from aetherium.sources.guarding import guarded
from aetherium.sources.opening import open_source
from tests.fixtures.ports import HOST, free_port
from tests.unit.jobs.trees import git, repository, unpack

LOOPBACK = ("127.0.0.0/8",)
MIB = 1 << 20


def _known(*addresses: str) -> guarding.Resolve:
    async def resolve(host: str, port: int) -> Sequence[str]:
        if not addresses:
            raise OSError("Name or service not known")
        return addresses

    return resolve


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.1",
        "224.0.1.1", "255.255.255.255", "::1", "::", "fe80::1%2", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::1",
    ],
)  # fmt: skip
async def test_an_address_inside_is_refused(address: str) -> None:
    with pytest.raises(SourceFailed, match="no address of the internet") as caught:
        await guarded("https://example.org/a.git", (), _known(address))
    assert "git_networks" in caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "/tmp/a", "file:///tmp/a", "ssh://git@example.org/a", "git@example.org:a", "https://", "https:///a",
        "https://example.org\\@127.0.0.1/a", "https://a@example.org/a", "https://example.org#/a",
        "https://example.org?/a", "https://example.org./a", "https://exämple.org/a", "https://[::1%lo]/a",
        "ext::sh -c true", "https://example.org:/a",
    ],
)  # fmt: skip
async def test_an_address_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        await guarded(url, LOOPBACK, _known("93.184.216.34"))


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "localhost", "[::1]"])
async def test_the_ways_to_write_this_host(host: str) -> None:
    with pytest.raises(SourceFailed):
        await guarded(f"http://{host}/a", ())


@pytest.mark.parametrize(
    ("url", "addresses", "given", "options"),
    [
        ("https://Example.org/a", ["93.184.216.34"], "https://Example.org/a",
         "example.org:443:93.184.216.34"),
        ("http://a.b:81/c", ["10.0.0.1", "1.1.1.1", "2606:4700::1"], "http://a.b:81/c",
         "a.b:81:1.1.1.1,[2606:4700::1]"),
        ("git://example.org/a", ["93.184.216.34"], "git://93.184.216.34:9418/a", ""),
        ("git://example.org:99/a", ["2606:4700::1"], "git://[2606:4700::1]:99/a", ""),
    ],
)  # fmt: skip
async def test_git_connects_to_what_was_found(
    url: str, addresses: list[str], given: str, options: str
) -> None:
    route = await guarded(url, (), _known(*addresses))
    assert route.url == given
    pinned = ("-c", f"http.curloptResolve={options}", "-c", "http.followRedirects=false")
    assert route.options == (pinned if options else ())


async def test_a_name_without_an_address() -> None:
    with pytest.raises(SourceFailed, match="no address"):
        await guarded("https://nowhere.example/a", (), _known())


async def test_a_proxy_decides_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "direct.example")
    assert (await guarded("https://inside.example/a", (), _known())).url == "https://inside.example/a"
    for url in ("https://direct.example/a", "http://inside.example/a", "git://inside.example/a"):
        with pytest.raises(SourceFailed):
            await guarded(url, (), _known("10.0.0.1"))


@pytest.fixture
async def origin(tmp_path: Path) -> Path:
    """A repository that a plain HTTP server can serve."""
    path = tmp_path / "origin"
    await repository(path, {"a.txt": b"one\n"})
    await git(path, "update-server-info")
    (path / ".git" / "git-daemon-export-ok").touch()
    return path


class _Handler(SimpleHTTPRequestHandler):
    """Files of a directory; below ``/away`` they are said to lie elsewhere."""

    def do_GET(self) -> None:
        if self.path.startswith("/away/"):
            self.send_response(302)
            self.send_header("location", self.path.removeprefix("/away"))
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def served(origin: Path) -> Iterator[int]:
    """The port at which it is served."""
    with ThreadingHTTPServer((HOST, 0), partial(_Handler, directory=str(origin))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


async def _deliver(url: str, tmp_path: Path, networks: Sequence[str] = LOOPBACK, **more: Any) -> bytes:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    delivery = await open_source(GitSource(url, depth=None, **more), scratch, 64 * MIB, networks)
    await unpack(delivery.pieces, tmp_path / "guest")
    return (tmp_path / "guest" / "a.txt").read_bytes()


async def test_a_network_can_be_allowed(served: int, tmp_path: Path) -> None:
    url = f"http://{HOST}:{served}/.git"
    assert await _deliver(url, tmp_path, guarded=True) == b"one\n"


async def test_it_is_not_allowed_by_itself(served: int, tmp_path: Path) -> None:
    url = f"http://{HOST}:{served}/.git"
    with pytest.raises(SourceFailed, match="no address of the internet"):
        await _deliver(url, tmp_path, (), guarded=True)


async def test_who_is_on_this_host_fetches_from_anywhere(served: int, tmp_path: Path) -> None:
    assert await _deliver(f"http://{HOST}:{served}/.git", tmp_path, ()) == b"one\n"


async def test_the_name_is_not_resolved_anew(
    served: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody but the first resolver knows this name."""
    monkeypatch.setattr(remote, "guarded", partial(guarded, resolve=_known(HOST)))
    assert await _deliver(f"http://git.invalid:{served}/.git", tmp_path, guarded=True) == b"one\n"


async def test_a_redirect_is_not_followed(served: int, tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match=r"redirect|302"):
        await _deliver(f"http://{HOST}:{served}/away/.git", tmp_path, guarded=True)


async def test_over_the_protocol_of_git(
    origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    argv = ["git", "daemon", "--reuseaddr", f"--listen={HOST}", f"--port={port}", f"--base-path={origin}"]
    monkeypatch.setattr(remote, "guarded", partial(guarded, resolve=_known(HOST)))
    async with spawned(argv, cwd=origin):
        async with asyncio.timeout(20):
            while True:
                try:
                    (await asyncio.open_connection(HOST, port))[1].close()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        assert await _deliver(f"git://git.invalid:{port}/.git", tmp_path, guarded=True) == b"one\n"
