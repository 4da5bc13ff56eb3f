"""A file that a client has brought, for a job to begin with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload.

    Args:
        sha256: in hex, of what has arrived.
        expires_at: until then jobs may name it; those that have named it keep what they need.
    """

    id: str
    size_bytes: int
    sha256: str
    expires_at: datetime
