"""How many requests somebody may make, and what is told of it (draft-ietf-httpapi-ratelimit-headers-10)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from starlette.types import Scope

from aetherium.domain.errors import RateLimited
from aetherium.domain.identity import Caller
from aetherium.domain.rates import Rate, Window
from aetherium.gateway.headers import add_header
from aetherium.services.identity.authentication import network

if TYPE_CHECKING:
    from aetherium.gateway.access import Services

# A changed quota counts from then on.
_QUOTA_S = 5.0
_MOST_PROJECTS = 10_000


class Rates:
    """Counts the requests of callers, of projects, and of addresses that nobody is known at.

    Args:
        now: seconds that pass.
    """

    def __init__(self, services: Services, now: Callable[[], float] = time.monotonic) -> None:
        self._services = services
        self._limiter = services.rates
        self._now = now
        self._of_key = Rate.parse(services.settings.rate_limit_key)
        self._of_address = Rate.parse(services.settings.rate_limit_address)
        self._quotas: dict[str, tuple[Rate | None, float]] = {}

    async def count_address(self, scope: Scope, address: str) -> None:
        """Count a request of nobody. Raises RateLimited."""
        window = await self._limiter.hit(self._of_address, f"address:{network(address)}")
        _tell(scope, {"address": window}.items())

    async def count(self, scope: Scope, caller: Caller) -> None:
        """Count a request. Raises RateLimited: by the caller's own rate, or by its project's quota."""
        found = {"caller": await self._limiter.hit(self._of_key, caller.subject)}
        quota = None if caller.project_id is None else await self._quota(caller.project_id)
        if quota is not None and found["caller"].allowed:
            found["project"] = await self._limiter.hit(quota, f"project:{caller.project_id}")
        _tell(scope, found.items())

    async def _quota(self, project_id: str) -> Rate | None:
        known = self._quotas.get(project_id)
        if known is not None and known[1] > self._now():
            return known[0]
        amount = (await self._services.store.projects.find(project_id)).quota.requests_per_minute
        rate = None if amount is None else Rate(amount)
        if len(self._quotas) >= _MOST_PROJECTS:
            self._quotas.clear()
        self._quotas[project_id] = (rate, self._now() + _QUOTA_S)
        return rate


def _tell(scope: Scope, windows: Iterable[tuple[str, Window]]) -> None:
    """Write it into the answer's headers. Raises RateLimited."""
    windows = list(windows)
    policies = (f'"{name}";q={window.rate.amount};w={window.rate.period_s}' for name, window in windows)
    left = (f'"{name}";r={window.remaining};t={math.ceil(window.reset_s)}' for name, window in windows)
    add_header(scope, "ratelimit-policy", ", ".join(policies))
    add_header(scope, "ratelimit", ", ".join(left))
    for name, window in windows:
        if not window.allowed:
            raise RateLimited(
                f"There may be {window.rate.amount} requests in {window.rate.period_s} seconds here.",
                hint=_HINTS[name],
                retry_after_s=max(1, math.ceil(window.reset_s)),
                limit=name,
                allowed=window.rate.amount,
            )


_HINTS = {
    "caller": "Make fewer requests; streams and long waits take the place of many.",
    "project": "It is the project's quota of requests per minute, which an administrator can change.",
    "address": "Give an API key or a token; those have a larger share.",
}
