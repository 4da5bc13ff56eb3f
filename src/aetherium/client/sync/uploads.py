"""Files that are brought for jobs."""

from __future__ import annotations

from aetherium.client.sync.loop import Part
from aetherium.domain.jobs import JobSource
from aetherium.domain.uploads import Upload


class Uploads(Part):
    """``client.uploads``; see aetherium.client.uploads."""

    def create(self, data: bytes) -> Upload:
        """Bring an archive or a git bundle, for jobs to begin with."""
        return self._loop.run(self._client.uploads.create(data))

    def pack(self, source: JobSource) -> JobSource:
        """What a job may begin with wherever it runs: a source of this host is packed and uploaded."""
        return self._loop.run(self._client.uploads.pack(source))
