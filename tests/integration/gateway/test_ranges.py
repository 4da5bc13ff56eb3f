"""Files as HTTP has them: ranges, conditions, HEAD, digests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from aetherium.domain.vms import VM
from aetherium.gateway.digests import show
from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.raw import http

DATA = bytes(range(256)) * 4096


@pytest.fixture
async def client(gateway: Gateway, vm: VM) -> AsyncIterator[httpx2.AsyncClient]:
    async with http(gateway.socket) as client:
        yield client


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def _content(path: Path) -> str:
    return f"/v1/vms/box/files/content?path={path}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A link to a file."""
    (tmp_path / "file").write_bytes(DATA)
    (tmp_path / "link").symlink_to("file")
    return tmp_path / "link"


async def test_a_part_of_a_file(client: httpx2.AsyncClient, file: Path) -> None:
    for header, part, where in (
        ("bytes=0-0", DATA[:1], "0-0"),
        ("bytes=70000-80000", DATA[70000:80001], "70000-80000"),
        ("bytes=-5", DATA[-5:], f"{len(DATA) - 5}-{len(DATA) - 1}"),
    ):
        found = await client.get(_content(file), headers={"range": header})
        assert (found.status_code, found.content) == (206, part)
        assert found.headers["content-range"] == f"bytes {where}/{len(DATA)}"
        assert found.headers["content-length"] == str(len(part))


async def test_a_range_with_nothing_in_it(client: httpx2.AsyncClient, file: Path) -> None:
    found = await client.get(_content(file), headers={"range": f"bytes={len(DATA)}-"})
    assert (found.status_code, found.json()["code"]) == (416, "range_not_satisfiable")
    assert found.headers["content-range"] == f"bytes */{len(DATA)}"


async def test_the_whole_and_its_head(client: httpx2.AsyncClient, file: Path) -> None:
    whole, head = await client.get(_content(file)), await client.head(_content(file))
    assert (whole.content, head.content) == (DATA, b"")
    for name in ("etag", "content-length", "accept-ranges", "last-modified"):
        assert head.headers[name] == whole.headers[name], name


async def test_only_what_has_changed(client: httpx2.AsyncClient, file: Path) -> None:
    etag = (await client.head(_content(file))).headers["etag"]
    same = await client.get(_content(file), headers={"if-none-match": f'"x", {etag}'})
    assert (same.status_code, same.content) == (304, b"")
    ranged = {"range": "bytes=0-1"}
    assert (await client.get(_content(file), headers={**ranged, "if-range": etag})).status_code == 206
    os.utime(file, (1, 1))
    assert (await client.get(_content(file), headers={"if-none-match": etag})).status_code == 200
    other = await client.get(_content(file), headers={**ranged, "if-range": etag})
    assert (other.status_code, other.content) == (200, DATA)


async def test_what_has_no_size_is_read_to_its_end(client: httpx2.AsyncClient, tmp_path: Path) -> None:
    found = await client.get(
        "/v1/vms/box/files/content?path=/proc/self/status", headers={"range": "bytes=0-1"}
    )
    assert found.status_code == 200
    assert found.content.startswith(b"Name:")


async def test_links_in_a_circle(client: httpx2.AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    found = await client.get(_content(tmp_path / "a"))
    assert (found.status_code, found.json()["details"]["errno"]) == (422, "ELOOP")


async def test_a_file_is_put_in_place_only_if_it_is_whole(client: httpx2.AsyncClient, tmp_path: Path) -> None:
    there = tmp_path / "file"
    there.write_bytes(b"old")
    digest = {"content-digest": show("sha-256", hashlib.sha256(DATA).digest())}
    refused = await client.put(_content(there), content=DATA[:-1], headers=digest)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    assert refused.json()["details"]["expected"] == hashlib.sha256(DATA).hexdigest()
    assert refused.json()["details"]["actual"] == hashlib.sha256(DATA[:-1]).hexdigest()
    assert there.read_bytes() == b"old"
    done = await client.put(_content(there), content=DATA, headers=digest)
    assert done.json()["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert there.read_bytes() == DATA
    assert _names(tmp_path) == ["file"]
    in_place = await client.put(f"{_content(there)}&offset=1", content=DATA, headers=digest)
    assert in_place.status_code == 422


async def test_a_checksum(client: httpx2.AsyncClient, file: Path, tmp_path: Path) -> None:
    found = await client.get(f"/v1/vms/box/files/checksum?path={file}")
    assert found.json() == {
        "path": str(file),
        "size_bytes": len(DATA),
        "sha256": hashlib.sha256(DATA).hexdigest(),
    }
    missing = await client.get(f"/v1/vms/box/files/checksum?path={tmp_path}/none")
    assert missing.status_code == 404
