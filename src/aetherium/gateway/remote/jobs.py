"""What jobs have written on their workers."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aetherium.gateway.remote.workers import Workers
from aetherium.protocol.generated import worker_pb2 as pb
from aetherium.rpc import convert


class RemoteJobFiles:
    """Files below the directories of jobs; `read` is what SharedJobFiles asks for."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    def read(self, worker_id: str, job_id: str, name: str, offset: int = 0) -> AsyncIterator[bytes]:
        """What a file holds now, from `offset` on. Raises NotFound; Unavailable if the worker is lost.

        Args:
            name: relative to the job's directory, for example ``events.ndjson`` or ``logs/1-build.log``.
        """

        def request_after(done: int) -> pb.ReadJobFileRequest:
            with convert.sending():
                return pb.ReadJobFileRequest(job_id=job_id, name=name, offset=offset + done)

        return self._workers.pieces(worker_id, lambda stub: stub.ReadJobFile, request_after)
