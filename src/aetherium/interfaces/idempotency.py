"""Where answers are kept for requests that come again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What a client calls a request: its own `key`, for an operation, in a project."""

    project_id: str
    key: str
    operation: str


@dataclass(frozen=True, slots=True)
class Begun:
    """A request that is to be carried out.

    Args:
        at: by which the others know that it is still this one.
        mark: by which what it makes is known: the id of an execution, a label of VMs and snapshots. If it is
            a repeat of one of which nobody knows how it ended, it is that one's, so that what was made is
            found, and not made again.
    """

    at: datetime
    mark: str


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier request with the same key.

    Args:
        fingerprint: of what it asked for.
        status: of its answer; None: it has none yet.
        answer: the body.
    """

    fingerprint: str
    status: int | None = None
    answer: bytes = b""


class IdempotencyRepository(Protocol):
    """Requests and their answers. Of several that begin at once, one is the first."""

    async def begin(
        self, request: RequestKey, fingerprint: str, mark: str, *, lease_s: float
    ) -> Begun | Earlier:
        """This one, or the earlier one. One that has no answer `lease_s` seconds after it was begun or
        renewed is begun anew, with its mark, by the next one that asks for the same: its gateway is gone."""
        ...

    async def renew(self, request: RequestKey, begun: datetime, *, lease_s: float) -> bool:
        """It is still being carried out; or, with 0 seconds, not any more. Whether it is still known."""
        ...

    async def keep(
        self, request: RequestKey, begun: datetime, status: int, answer: bytes, *, keep_s: float
    ) -> bool:
        """It is answered, for so many seconds; whether it is still known."""
        ...

    async def release(self, request: RequestKey, begun: datetime) -> None:
        """Forget one that has no answer: it has made nothing."""
        ...
