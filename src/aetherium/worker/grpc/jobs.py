# ruff: noqa: N802  # the methods are named as in the .proto file
"""What jobs have written on this worker: events, logs, artifacts, patches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from grpc.aio import ServicerContext

from aetherium.interfaces.jobs import JobFiles
from aetherium.protocol.generated import worker_pb2 as pb

Context = ServicerContext[Any, Any]


class JobCalls:
    """See worker.proto."""

    def __init__(self, files: JobFiles) -> None:
        self._files = files

    async def ReadJobFile(
        self, request: pb.ReadJobFileRequest, context: Context
    ) -> AsyncIterator[pb.ReadJobFileResponse]:
        async for piece in self._files.read(request.job_id, request.name, request.offset):
            yield pb.ReadJobFileResponse(data=piece)
