"""The parts of images that workers have."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from aetherium.gateway.remote.workers import Workers
from aetherium.protocol.generated import worker_pb2 as pb


class RemoteImageParts:
    """Files of other workers' image stores; `read` is what images/peers.py asks for.

    Args:
        workers: without patience, since the same parts can be had elsewhere.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    def read(self, worker_id: str, name: str, offset: int) -> AsyncGenerator[bytes, None]:
        """Raises NotFound; Unavailable if the worker cannot be reached, or is lost in the middle.

        Args:
            name: ``manifests/HEX`` or ``blobs/HEX``.
        """

        def request_after(done: int) -> pb.ReadImagePartRequest:
            return pb.ReadImagePartRequest(name=name, offset=offset + done)

        return self._workers.pieces(worker_id, lambda stub: stub.ReadImagePart, request_after)
