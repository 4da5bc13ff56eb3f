"""Jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

from aetherium.domain.errors import InvalidInput
from aetherium.domain.jobs import (
    GitSource,
    Job,
    JobEvent,
    JobSource,
    JobSpec,
    StepLog,
    UploadSource,
)
from aetherium.gateway.access.access import Access, refuse_reserved
from aetherium.gateway.access.rules import guards, streams
from aetherium.interfaces.store import JobFilter

if TYPE_CHECKING:
    from aetherium.services.jobs import JobService

# What a gateway fetches for others. The rest names files of its host, or uses its keys.
_REMOTE = ("https://", "http://", "git://")


class Jobs:
    """See JobService."""

    def __init__(self, access: Access, inner: JobService) -> None:
        self._access = access
        self._inner = inner

    @guards("jobs:write", "job.submit")
    async def submit(
        self,
        spec: JobSpec,
        *,
        secrets: Mapping[str, str] | None = None,
        project: str = "",
        idempotency_key: str = "",
    ) -> Job:
        if not self._access.local:
            spec = replace(spec, source=_guarded(spec.source))
        if set(spec.secret_names) - (secrets or {}).keys():
            self._access.caller.require("secrets:use")
        refuse_reserved(spec.labels)
        made = await self._inner.submit(
            spec,
            secrets=secrets,
            project=await self._access.choose(project),
            idempotency_key=idempotency_key,
        )
        self._access.note(made.id)
        return made

    @guards("jobs:read")
    async def get(self, ref: str) -> Job:
        return await self._inner.get(await self._access.job(ref))

    @guards("jobs:read")
    async def list(
        self,
        *,
        limit: int | None = None,
        before: str = "",
        oldest_first: bool = False,
        **where: Unpack[JobFilter],
    ) -> Sequence[Job]:
        return await self._inner.list(
            limit=limit,
            before=before,
            oldest_first=oldest_first,
            project=self._access.caller.project_id,
            **where,
        )

    @guards("jobs:write", "job.cancel")
    async def cancel(self, ref: str) -> Job:
        return await self._inner.cancel(await self._access.job(ref))

    @streams("jobs:read")
    async def events(self, job_id: str, *, after: int = 0) -> AsyncIterator[JobEvent]:
        async for event in self._inner.events(await self._access.job(job_id), after=after):
            yield event

    @guards("jobs:read")
    async def wait(self, job_id: str) -> Job:
        return await self._inner.wait(await self._access.job(job_id))

    @guards("jobs:read")
    async def logs(self, ref: str) -> Sequence[StepLog]:
        return await self._inner.logs(await self._access.job(ref))

    @streams("jobs:read")
    async def read(self, job_id: str, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        async for piece in self._inner.read(await self._access.job(job_id), name, offset=offset):
            yield piece

    @guards("jobs:write", "job.delete")
    async def delete(self, ref: str) -> None:
        await self._inner.delete(await self._access.job(ref))


def _guarded(source: JobSource | None) -> JobSource | None:
    """What somebody may begin with who is not on this host: nothing of its files and its network."""
    if source is None or isinstance(source, UploadSource):
        return source
    if isinstance(source, GitSource) and source.url.startswith(_REMOTE):
        return replace(source, guarded=True)
    named = source.url if isinstance(source, GitSource) else source.kind
    raise InvalidInput(
        f"The source {named!r} lies on the gateway's host, or needs its keys.",
        hint="Give a git repository by its https address; the command line and the SDK upload directories.",
        field="source",
    )
