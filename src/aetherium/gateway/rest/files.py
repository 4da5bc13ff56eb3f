"""``/v1/vms/{ref}/files``: read and write, list, stat, move, remove, watch, archives in and out.

Bodies are streamed both ways; the sender waits for the receiver.
"""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Annotated, Protocol

from fastapi import Header, Query, Request
from starlette.responses import JSONResponse, Response

from aetherium.domain.errors import GuestError, InvalidInput
from aetherium.domain.guest import FileKind, FileStat
from aetherium.gateway import wire
from aetherium.gateway.describing import GUEST, OCTETS, errors, followed, octets, takes
from aetherium.gateway.digests import Checked, parse
from aetherium.gateway.following import FollowDep, Message
from aetherium.gateway.platform import DrainDep, Platform, PlatformDep
from aetherium.gateway.ranges import Content, answer
from aetherium.gateway.rest import answers, bodies
from aetherium.gateway.rest.part import Part
from aetherium.gateway.streams import StreamResponse, awaited, primed

router = Part(prefix="/vms/{ref}/files", tags=["files"])

_TAR = "application/x-tar"
_CHANGES = (
    Message({"watching": "/tmp"}, "watching"),  # noqa: S108 - a path in a guest
    Message({"kind": "created", "path": "/tmp/new"}, "change"),  # noqa: S108
)
# As many as Linux follows (path_resolution(7)).
_MOST_LINKS = 40
User = Annotated[str | None, Query(description="Whose it becomes; default: root's.")]
Recursive = Annotated[bool, Query(description="Also a directory with all that is in it.")]
Patterns = Annotated[list[str] | None, Query(description="Globs relative to the path.")]


class Reading(Protocol):
    """What looks at files."""

    async def stat(self, path: str) -> FileStat: ...


@router.get("", response_model=list[FileStat], responses=errors(*GUEST))
async def index(ref: str, path: bodies.Path, platform: PlatformDep) -> Response:
    """The entries of a directory, by name."""
    async with platform.vms.guest(ref) as guest:
        return JSONResponse(wire.dump(list(await guest.list(path))))


@router.get("/stat", response_model=FileStat, responses=errors(*GUEST))
async def stat(ref: str, path: bodies.Path, platform: PlatformDep) -> Response:
    """One entry; symbolic links are not followed."""
    async with platform.vms.guest(ref) as guest:
        return wire.reply(await guest.stat(path))


@router.head(
    "/content", response_class=Response, responses={**octets(ranged=True, head=True), **errors(*GUEST)}
)
@router.get("/content", response_class=Response, responses={**octets(ranged=True), **errors(*GUEST)})
async def read(
    ref: str,
    path: bodies.Path,
    request: Request,
    platform: PlatformDep,
    drain: DrainDep,
    offset: Annotated[int, Query(ge=0, description="Bytes to leave out.")] = 0,
    length: Annotated[int | None, Query(ge=0, description="Bytes to read at most.")] = None,
) -> Response:
    """A file's bytes. `Range` asks for a part of them, as do `offset` and `length`; `If-None-Match` and
    `If-Range` take its `ETag`, which is made of size and time of change. Links are followed."""
    async with platform.vms.guest(ref) as guest:
        found = await _behind_links(guest, path)

    @asynccontextmanager
    async def source(begin: int, count: int | None) -> AsyncIterator[AsyncIterator[bytes]]:
        async with platform.vms.guest(ref) as guest:
            yield await primed(guest.read(path, offset=begin, length=count))

    # The size of what the kernel makes up as it is read (/proc, devices) is not known.
    if offset or length is not None or not found.size or found.kind is not FileKind.FILE:
        return StreamResponse(lambda: source(offset, length), drain, media_type=OCTETS)
    content = Content(
        found.size, f'"{found.mtime_ns:x}-{found.size:x}"', OCTETS, {"last-modified": _http_date(found)}
    )
    return answer(request, content, source, drain)


async def _behind_links(guest: Reading, path: str) -> FileStat:
    """What is found where `path` leads to. Raises GuestError (ELOOP) as the kernel does."""
    for _ in range(_MOST_LINKS):
        found = await guest.stat(path)
        if found.kind is not FileKind.SYMLINK:
            return found
        path = posixpath.join(posixpath.dirname(path), found.target)
    raise GuestError(f"There are too many links at {path}.", errno="ELOOP")


def _http_date(found: FileStat) -> str:
    return formatdate(found.mtime_ns / 1e9, usegmt=True)


@router.get("/checksum", response_model=answers.Checksum, responses=errors(*GUEST))
async def checksum(ref: str, path: bodies.Path, platform: PlatformDep, drain: DrainDep) -> Response:
    """The SHA-256 of a file, and its size, as they are read; large files take a while."""

    async def work() -> bytes:
        async with platform.vms.guest(ref) as guest:
            data = Checked(guest.read(path), {})
            size = sum([len(piece) async for piece in data])
        return wire.dump_json(answers.Checksum(path, size, data.sha256))

    return awaited(work, drain)


@router.put("/content", response_model=answers.Written, openapi_extra=takes(OCTETS), responses=errors(*GUEST))
async def write(
    ref: str,
    path: bodies.Path,
    request: Request,
    platform: PlatformDep,
    mode: Annotated[int | None, Query(ge=0, le=0o7777, description="Permission bits as a number.")] = None,
    user: User = None,
    offset: Annotated[int | None, Query(ge=0, description="Write in place from here on.")] = None,
    content_digest: Annotated[
        str, Header(description="Digest of the body (RFC 9530): `sha-256=:BASE64:`.")
    ] = "",
) -> Response:
    """Write the body to a file: replaced atomically, or in place from `offset` on. With `Content-Digest` it
    is put in place only if it is whole. Answers what is there now, and the SHA-256 of what was sent."""
    if content_digest and offset is not None:
        raise InvalidInput(
            "What is written in place is there before its digest is known.",
            hint="Leave out offset or Content-Digest.",
            field="Content-Digest",
        )
    data = Checked(request.stream(), parse(content_digest))
    async with platform.vms.guest(ref) as guest:
        done = await guest.write(path, data, mode=mode, user=user, offset=offset)
    return JSONResponse({**wire.dump(done), "sha256": data.sha256})


@router.get("/archive", response_class=Response, responses={**octets(_TAR), **errors(*GUEST)})
async def archive_out(
    ref: str,
    path: bodies.Path,
    platform: PlatformDep,
    drain: DrainDep,
    include: Patterns = None,
    exclude: Patterns = None,
) -> Response:
    """A file or directory as a tar archive (pax)."""

    @asynccontextmanager
    async def source() -> AsyncIterator[AsyncIterator[bytes]]:
        async with platform.vms.guest(ref) as guest:
            yield await primed(guest.archive_out(path, include=include or (), exclude=exclude or ()))

    return StreamResponse(source, drain, media_type=_TAR)


@router.put("/archive", status_code=204, openapi_extra=takes(_TAR), responses=errors(*GUEST))
async def archive_in(
    ref: str, path: bodies.Path, request: Request, platform: PlatformDep, user: User = None
) -> Response:
    """Unpack the body, a tar archive, below a directory."""
    async with platform.vms.guest(ref) as guest:
        await guest.archive_in(path, request.stream(), user=user)
    return Response(status_code=204)


@router.delete("", status_code=204, responses=errors(*GUEST))
async def remove(
    ref: str, path: bodies.Path, platform: PlatformDep, recursive: Recursive = False
) -> Response:
    """Remove a file or directory."""
    async with platform.vms.guest(ref) as guest:
        await guest.remove(path, recursive=recursive)
    return Response(status_code=204)


@router.post("/mkdir", status_code=204, responses=errors(*GUEST))
async def mkdir(ref: str, body: bodies.DirectoryBody, platform: PlatformDep) -> Response:
    """Make a directory."""
    async with platform.vms.guest(ref) as guest:
        await guest.mkdir(body.path, parents=body.parents, mode=body.mode, user=body.user)
    return Response(status_code=204)


@router.post("/move", status_code=204, responses=errors(*GUEST))
async def move(ref: str, body: bodies.MoveBody, platform: PlatformDep) -> Response:
    """Move or rename."""
    async with platform.vms.guest(ref) as guest:
        await guest.move(body.source, body.target)
    return Response(status_code=204)


@router.post("/chmod", status_code=204, responses=errors(*GUEST))
async def chmod(ref: str, body: bodies.ModeBody, platform: PlatformDep) -> Response:
    """Change permission bits."""
    async with platform.vms.guest(ref) as guest:
        await guest.chmod(body.path, body.mode)
    return Response(status_code=204)


@router.get("/watch", response_class=Response, responses={**followed(*_CHANGES), **errors(*GUEST)})
async def watch(ref: str, path: bodies.Path, platform: PlatformDep, follow: FollowDep) -> Response:
    """Changes under a path, as lines: `{"watching"}` once they are looked for, then `{"kind", "path"}` …"""
    return follow.answer(lambda: _events(platform, ref, path))


@asynccontextmanager
async def _events(platform: Platform, ref: str, path: str) -> AsyncIterator[AsyncIterator[Message]]:
    async with platform.vms.guest(ref) as guest, guest.watch(path) as events:

        async def messages() -> AsyncIterator[Message]:
            yield Message({"watching": path}, "watching")
            async for event in events:
                yield Message(wire.dump(event), "change")

        yield messages()
