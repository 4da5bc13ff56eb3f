"""Removes what is older than it is kept."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from aetherium.interfaces.store import Store

log = logging.getLogger(__name__)

_BATCH = 1000


class Retention:
    """Ended tasks, and events.

    Args:
        forget_jobs: removes what belongs to the jobs of tasks that are gone.
        sweep: removes what killed writers have left where files are kept.
    """

    def __init__(
        self,
        store: Store,
        *,
        task_keep_s: float,
        event_keep_s: float,
        forget_jobs: Callable[[Sequence[str]], Awaitable[None]],
        sweep: Callable[[], Awaitable[int]],
    ) -> None:
        self._store = store
        self._task_keep_s = task_keep_s
        self._event_keep_s = event_keep_s
        self._forget_jobs = forget_jobs
        self._sweep = sweep

    async def purge(self) -> int:
        """All that is due now; how many tasks were removed."""
        removed = 0
        while gone := await self._store.tasks.purge(self._task_keep_s, limit=_BATCH):
            await self._forget_jobs(gone)
            removed += len(gone)
            if len(gone) < _BATCH:
                break
        await self._store.events.purge(self._event_keep_s)
        await self._sweep()
        if removed:
            log.info("%d tasks were kept long enough and are removed.", removed)
        return removed
