"""When a request is made again: what may be, how often, and how long is waited in between.

Repeated is what changes nothing, or the same however often it is done (GET, HEAD, PUT, DELETE, and POST with
an ``Idempotency-Key``), after an error that may pass; and in any case what the gateway has never taken, for
nobody listened or it was refused for now. A body that is read only once is never sent twice.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

import httpx2

from aetherium.domain.errors import AetheriumError, InProgress, RateLimited

_SAFE = ("GET", "HEAD", "PUT", "DELETE")
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter: before try n+1, a random time of up to ``base_s * 2**n`` seconds.

    Args:
        attempts: tries of one request; of a stream, tries without any progress.
        deadline_s: no try begins later than this after the first one, or after the last progress.
        base_s: see above.
        most_s: bounds the waiting before one try; a ``Retry-After`` is waited for even if it is longer.
    """

    attempts: int = 5
    deadline_s: float = 30.0
    base_s: float = 0.2
    most_s: float = 5.0


DEFAULT = RetryPolicy()


class Tries:
    """The tries of one request.

    Args:
        policy: None: there is only one.
        safe: it may be made again though an earlier one may have been carried out.
        replayable: its body can be sent again.
    """

    def __init__(self, policy: RetryPolicy | None, *, safe: bool, replayable: bool = True) -> None:
        self._policy = policy if replayable else None
        self._safe = safe
        self._failed = 0
        self._begun = time.monotonic()
        self.maybe_done = False

    def renew(self) -> None:
        """There was progress: the next failure is the first."""
        self._failed = 0
        self._begun = time.monotonic()

    async def pause(self, error: AetheriumError) -> None:
        """Wait until the next try. Raises `error` when there is none."""
        self._failed += 1
        wait_s = self._wait_s(error)
        if wait_s is None:
            raise error
        self.maybe_done = self.maybe_done or not _never_taken(error)
        await asyncio.sleep(wait_s)

    def _wait_s(self, error: AetheriumError) -> float | None:
        policy = self._policy
        if policy is None:
            return None
        # What an earlier try has begun is waited for as long as there is time.
        if self._failed >= policy.attempts and not isinstance(error, InProgress):
            return None
        if not (_never_taken(error) or (self._safe and error.retryable)):
            return None
        longest = min(policy.most_s, policy.base_s * 2.0 ** (self._failed - 1))
        wait_s = _retry_after_s(error) + random.uniform(0, longest)  # noqa: S311 - spreads clients, hides nothing
        late = time.monotonic() + wait_s > self._begun + policy.deadline_s
        return None if late else wait_s


def is_safe(method: str, key: str = "") -> bool:
    """Whether a request may be made again whatever became of it."""
    return method in _SAFE or bool(key)


def _never_taken(error: AetheriumError) -> bool:
    return isinstance(error, RateLimited) or isinstance(error.__cause__, _NEVER_SENT)


def _retry_after_s(error: AetheriumError) -> float:
    return error.retry_after_s if isinstance(error, RateLimited) else 0.0
