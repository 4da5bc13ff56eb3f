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
        execution_id: for the command that it runs, if it runs one: that of the first one, if that was begun
            by a gateway that is gone, so that the command is found and not run again.
    """

    at: datetime
    execution_id: str


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
        self, request: RequestKey, fingerprint: str, execution_id: str, *, lease_s: float
    ) -> Begun | Earlier:
        """This one, or the earlier one. One that has no answer `lease_s` seconds after it was begun or
        renewed is begun anew by the next one that asks for the same: its gateway is gone."""
        ...

    async def renew(self, request: RequestKey, begun: datetime, *, lease_s: float) -> bool:
        """It is still being carried out; whether it is still known."""
        ...

    async def keep(
        self, request: RequestKey, begun: datetime, status: int, answer: bytes, *, keep_s: float
    ) -> bool:
        """It is answered, for so many seconds; whether it is still known."""
        ...

    async def release(self, request: RequestKey, begun: datetime) -> None:
        """Forget one that has no answer: it failed, and may be tried again."""
        ...
