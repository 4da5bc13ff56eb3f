"""``Idempotency-Key``: a request that makes something can be repeated, and makes it once.

The answer of the first one is kept for a day and given to the others. While it is carried out, they are told
so. One that failed, or was taken back, has made nothing, so it is forgotten and a repeat tries anew.

Sometimes nobody knows what the first one has made: its gateway was killed, or lost its worker. The next one,
in the first case after its lease has run out, then goes on with its mark, by which what was made is found.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.responses import Response

from aetherium.domain.errors import AetheriumError, Conflict, IdempotencyMismatch, InProgress
from aetherium.domain.ids import EXECUTION, new_id
from aetherium.gateway import wire
from aetherium.gateway.access import Services
from aetherium.interfaces.background import beside
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.idempotency import Earlier, IdempotencyRepository, RequestKey

log = logging.getLogger(__name__)

KEEP_S = 24 * 3600.0
# Renewals in the time of a lease: two may fail before it is over.
_RENEWALS = 3
# An answer above that is no fact but a file, and no row for a database.
MOST_BYTES = 1 << 20
REPLAYED = "idempotency-replayed"

Work = Callable[[], Awaitable[Any]]
Report = Callable[[Any], None]


def unnamed(services: Services) -> Once:
    """A request without a key."""
    return Once(services.store.idempotency, services.settings.request_lease_s)


@dataclass(slots=True)
class Once:
    """A request that is carried out once, if it has a key.

    Args:
        lease_s: without a renewal for so long, its gateway is taken for killed.
        request: its name; None: it has no key.
        fingerprint: of all that it asks for, and of who does.

    Attributes:
        mark: see Begun, while it is carried out; empty: it has no key.
    """

    repository: IdempotencyRepository
    lease_s: float
    request: RequestKey | None = None
    fingerprint: str = ""
    mark: str = field(default="", init=False)

    async def reply(self, work: Work, status: int = 201) -> Response:
        """The answer with the value that `work` gives, or with the one that was given before."""
        body, again = await self._carried_out(work, status)
        headers = {REPLAYED: "true"} if again else None
        return Response(body, status_code=status, media_type="application/json", headers=headers)

    async def value(self, work: Work) -> Any:
        """The same as JSON types, for answers of another form."""
        body, _ = await self._carried_out(work, 200)
        return json.loads(body)

    def progressing(self, work: Callable[[Report], Awaitable[Any]]) -> Callable[[Report], Awaitable[Any]]:
        """The same for work that reports how far it is; a repeat has nothing to report."""
        return lambda report: self.value(lambda: work(report))

    async def _carried_out(self, work: Work, status: int) -> tuple[bytes, bool]:
        """The answer's body, and whether it is that of an earlier request."""
        if self.request is None:
            return wire.encode(await work()), False
        found = await self.repository.begin(
            self.request, self.fingerprint, new_id(EXECUTION), lease_s=self.lease_s
        )
        if isinstance(found, Earlier):
            return self._repeat(found), True
        self.mark = found.mark
        try:
            async with beside(self._renew(found.at), "idempotency"):
                body = wire.encode(await work())
        except BaseException as error:
            await finish(self._failed(found.at, error))
            raise
        await finish(self._keep(found.at, status, body))
        return body, False

    def _repeat(self, earlier: Earlier) -> bytes:
        if earlier.fingerprint != self.fingerprint:
            raise IdempotencyMismatch(
                "This idempotency key was used for another request.",
                hint="Use a new key for a new request, and an old one to repeat the same.",
                field="Idempotency-Key",
            )
        if earlier.status is None:
            raise InProgress("The first request with this key is being carried out.", hint="Try again.")
        if not earlier.answer:
            raise Conflict(
                "The first request with this key was carried out, and its answer was too large to be kept.",
                hint="Look for what it has made.",
            )
        return earlier.answer

    async def _renew(self, begun: datetime) -> None:
        while self.request is not None:
            await asyncio.sleep(self.lease_s / _RENEWALS)
            try:
                await self.repository.renew(self.request, begun, lease_s=self.lease_s)
            except AetheriumError as error:
                log.warning("A request that is being carried out cannot be renewed: %s", error)

    async def _failed(self, begun: datetime, why: BaseException) -> None:
        if self.request is None:
            return
        taken_back = isinstance(why, asyncio.CancelledError)
        refused = isinstance(why, AetheriumError) and not why.retryable
        try:
            if taken_back or refused:
                await self.repository.release(self.request, begun)
            else:
                await self.repository.renew(self.request, begun, lease_s=0.0)
        except AetheriumError as error:
            log.warning("A request that failed cannot be repeated yet: %s", error)

    async def _keep(self, begun: datetime, status: int, body: bytes) -> None:
        """What was made is there: that its answer cannot be kept must not make it look like a failure."""
        kept = body if len(body) <= MOST_BYTES else b""
        try:
            if self.request is not None:
                await self.repository.keep(self.request, begun, status, kept, keep_s=KEEP_S)
        except AetheriumError as error:
            log.warning("The answer of a request cannot be kept for repeats: %s", error)
