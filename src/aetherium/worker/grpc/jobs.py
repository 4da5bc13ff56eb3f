# ruff: noqa: N802  # the methods are named as in the .proto file
"""What jobs have written on this worker: events, logs, artifacts, patches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO

from grpc.aio import ServicerContext

from aetherium.domain.errors import NotFound
from aetherium.protocol.generated import worker_pb2 as pb
from aetherium.rpc.options import PIECE
from aetherium.worker.grpc.services import Services

Context = ServicerContext[Any, Any]


class JobCalls:
    """See worker.proto."""

    def __init__(self, services: Services) -> None:
        self._jobs = services.jobs

    async def ReadJobFile(
        self, request: pb.ReadJobFileRequest, context: Context
    ) -> AsyncIterator[pb.ReadJobFileResponse]:
        directory = self._jobs.directory(request.job_id)
        with await asyncio.to_thread(_open, directory, request.name, request.offset) as file:
            while piece := await asyncio.to_thread(file.read, PIECE):
                yield pb.ReadJobFileResponse(data=piece)


def _open(directory: Path, name: str, offset: int) -> BinaryIO:
    """Raises NotFound, also for what would leave the directory or is no ordinary file."""
    try:
        path = (directory / name).resolve()
        if not path.is_relative_to(directory.resolve()) or not path.is_file():
            raise NotFound("file of the job", name)
        file = path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise NotFound("file of the job", name) from error
    file.seek(offset)
    return file
