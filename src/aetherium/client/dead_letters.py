"""Dead letters: tasks that failed for good."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence

from aetherium.client import values
from aetherium.client.paging import iterate
from aetherium.client.transport import Transport, quoted
from aetherium.domain.tasks import Task


class DeadLetters:
    """``client.dead_letters``. A `ref` is a task's id or a unique prefix of one."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    async def list(
        self,
        *,
        types: Collection[str] = (),
        error_code: str = "",
        group: str = "",
        project: str = "",
        limit: int | None = None,
    ) -> Sequence[Task]:
        """The newest `limit`, newest first; None: all."""
        found = self.iterate(types=types, error_code=error_code, group=group, project=project, limit=limit)
        return [task async for task in found]

    def iterate(
        self,
        *,
        types: Collection[str] = (),
        error_code: str = "",
        group: str = "",
        project: str = "",
        limit: int | None = None,
    ) -> AsyncIterator[Task]:
        """The same as `list`, page by page."""
        params = {
            "type": list(types),
            "error_code": error_code or None,
            "group": group or None,
            "project": project or None,
        }
        return iterate(self._http, "/v1/dead-letters", Task, params, limit=limit)

    async def get(self, ref: str) -> Task:
        """One. Raises NotFound for a task that is not dead."""
        return values.load(Task, await self._http.call("GET", f"/v1/dead-letters/{quoted(ref)}"))

    async def requeue(self, ref: str) -> Task:
        """Try it anew, with fresh attempts."""
        found = await self._http.call("POST", f"/v1/dead-letters/{quoted(ref)}/requeue")
        return values.load(Task, found)

    async def discard(self, ref: str) -> Task:
        """Put it aside."""
        found = await self._http.call("POST", f"/v1/dead-letters/{quoted(ref)}/discard")
        return values.load(Task, found)

    async def requeue_all(
        self,
        *,
        ids: Collection[str] = (),
        types: Collection[str] = (),
        error_code: str = "",
        group: str = "",
        project: str = "",
        all: bool = False,  # noqa: A002 - the name in the API
    ) -> int:
        """Try those that fit anew; how many were changed. `all`: no matter which."""
        return await self._all("requeue", ids, types, error_code, group, project, all)

    async def discard_all(
        self,
        *,
        ids: Collection[str] = (),
        types: Collection[str] = (),
        error_code: str = "",
        group: str = "",
        project: str = "",
        all: bool = False,  # noqa: A002 - the name in the API
    ) -> int:
        """Put those that fit aside; how many were changed. `all`: no matter which."""
        return await self._all("discard", ids, types, error_code, group, project, all)

    async def _all(
        self,
        verb: str,
        ids: Collection[str],
        types: Collection[str],
        error_code: str,
        group: str,
        project: str,
        everything: bool,
    ) -> int:
        body = {
            "ids": list(ids),
            "types": list(types),
            "error_code": error_code,
            "group": group,
            "project": project,
            "all": everything,
        }
        return int((await self._http.call("POST", f"/v1/dead-letters/{verb}", body=body))["changed"])
