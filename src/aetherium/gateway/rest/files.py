"""``/v1/vms/{ref}/files``: read and write, list, stat, move, remove, watch, archives in and out.

Bodies are streamed both ways; the sender waits for the receiver.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from aetherium.domain.guest import FileStat
from aetherium.gateway import wire
from aetherium.gateway.following import FollowDep, Message
from aetherium.gateway.platform import DrainDep, Platform, PlatformDep
from aetherium.gateway.rest import bodies
from aetherium.gateway.streams import StreamResponse, primed

router = APIRouter(prefix="/vms/{ref}/files", tags=["files"])

_BYTES = "application/octet-stream"
_TAR = "application/x-tar"
Patterns = Annotated[list[str] | None, Query(description="Globs relative to the path.")]


@router.get("", response_model=list[FileStat])
async def index(ref: str, path: bodies.Path, platform: PlatformDep) -> Response:
    """The entries of a directory, by name."""
    async with platform.vms.guest(ref) as guest:
        return JSONResponse(wire.dump(list(await guest.list(path))))


@router.get("/stat", response_model=FileStat)
async def stat(ref: str, path: bodies.Path, platform: PlatformDep) -> Response:
    """One entry; symbolic links are not followed."""
    async with platform.vms.guest(ref) as guest:
        return wire.reply(await guest.stat(path))


@router.get("/content")
async def read(
    ref: str,
    path: bodies.Path,
    platform: PlatformDep,
    drain: DrainDep,
    offset: Annotated[int, Query(ge=0)] = 0,
    length: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """A file's bytes, or a range of them."""

    @asynccontextmanager
    async def source() -> AsyncIterator[AsyncIterator[bytes]]:
        async with platform.vms.guest(ref) as guest:
            yield await primed(guest.read(path, offset=offset, length=length))

    return StreamResponse(source, drain, media_type=_BYTES)


@router.put("/content", response_model=FileStat)
async def write(
    ref: str,
    path: bodies.Path,
    request: Request,
    platform: PlatformDep,
    mode: Annotated[int | None, Query(ge=0, le=0o7777, description="Permission bits as a number.")] = None,
    user: str | None = None,
    offset: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """Write the body to a file: replaced atomically, or in place from `offset` on."""
    async with platform.vms.guest(ref) as guest:
        done = await guest.write(path, request.stream(), mode=mode, user=user, offset=offset)
    return wire.reply(done)


@router.get("/archive")
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


@router.put("/archive", status_code=204)
async def archive_in(
    ref: str, path: bodies.Path, request: Request, platform: PlatformDep, user: str | None = None
) -> Response:
    """Unpack the body, a tar archive, below a directory."""
    async with platform.vms.guest(ref) as guest:
        await guest.archive_in(path, request.stream(), user=user)
    return Response(status_code=204)


@router.delete("", status_code=204)
async def remove(ref: str, path: bodies.Path, platform: PlatformDep, recursive: bool = False) -> Response:
    """Remove a file or directory."""
    async with platform.vms.guest(ref) as guest:
        await guest.remove(path, recursive=recursive)
    return Response(status_code=204)


@router.post("/mkdir", status_code=204)
async def mkdir(ref: str, body: bodies.DirectoryBody, platform: PlatformDep) -> Response:
    """Make a directory."""
    async with platform.vms.guest(ref) as guest:
        await guest.mkdir(body.path, parents=body.parents, mode=body.mode, user=body.user)
    return Response(status_code=204)


@router.post("/move", status_code=204)
async def move(ref: str, body: bodies.MoveBody, platform: PlatformDep) -> Response:
    """Move or rename."""
    async with platform.vms.guest(ref) as guest:
        await guest.move(body.source, body.target)
    return Response(status_code=204)


@router.post("/chmod", status_code=204)
async def chmod(ref: str, body: bodies.ModeBody, platform: PlatformDep) -> Response:
    """Change permission bits."""
    async with platform.vms.guest(ref) as guest:
        await guest.chmod(body.path, body.mode)
    return Response(status_code=204)


@router.get("/watch")
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
