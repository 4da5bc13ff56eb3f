# ruff: noqa: N802  # the methods are named as in the .proto file
"""Jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from aetherium.domain.errors import NotFound
from aetherium.domain.jobs import DirectorySource, GitSource, Job, JobSpec, JobState
from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.lists import listing_of
from aetherium.gateway.grpc.values import enums_of, from_message, to_message, to_messages
from aetherium.interfaces.store import JobFilter
from aetherium.protocol.generated import jobs_pb2 as pb
from aetherium.protocol.generated.jobs_pb2_grpc import JobServiceServicer

# The depth of a history that has no limit.
_WHOLE = 0


class JobCalls(Service, JobServiceServicer):
    """See jobs.proto."""

    async def Submit(
        self, request: pb.JobServiceSubmitRequest, context: Context
    ) -> pb.JobServiceSubmitResponse:
        platform = await self._platform_of(context)
        job = await platform.jobs.submit(
            _spec(request.spec),
            secrets=dict(request.secrets),
            idempotency_key=request.idempotency_key,
        )
        return pb.JobServiceSubmitResponse(job=_job(job))

    async def Get(self, request: pb.JobServiceGetRequest, context: Context) -> pb.JobServiceGetResponse:
        platform = await self._platform_of(context)
        return pb.JobServiceGetResponse(job=_job(await platform.jobs.get(request.ref)))

    async def Wait(self, request: pb.JobServiceWaitRequest, context: Context) -> pb.JobServiceWaitResponse:
        platform = await self._platform_of(context)
        job = await platform.jobs.get(request.ref)
        return pb.JobServiceWaitResponse(job=_job(await platform.jobs.wait(job.id)))

    async def List(self, request: pb.JobServiceListRequest, context: Context) -> pb.JobServiceListResponse:
        platform = await self._platform_of(context)
        states = [JobState(state) for state in enums_of(request, "states")]
        listing, where = listing_of(request, by_time=True), JobFilter(states=states, name=request.name)
        listing.narrow(where, dict(request.labels))
        found = await platform.jobs.list(
            limit=listing.limit + 1, before=listing.before, oldest_first=listing.oldest_first, **where
        )
        page = listing.fetched(found)
        return pb.JobServiceListResponse(jobs=[_job(job) for job in page.items], next_cursor=page.cursor)

    async def Cancel(
        self, request: pb.JobServiceCancelRequest, context: Context
    ) -> pb.JobServiceCancelResponse:
        platform = await self._platform_of(context)
        return pb.JobServiceCancelResponse(job=_job(await platform.jobs.cancel(request.ref)))

    async def Delete(
        self, request: pb.JobServiceDeleteRequest, context: Context
    ) -> pb.JobServiceDeleteResponse:
        platform = await self._platform_of(context)
        await platform.jobs.delete(request.ref)
        return pb.JobServiceDeleteResponse()

    async def Watch(
        self, request: pb.JobServiceWatchRequest, context: Context
    ) -> AsyncIterator[pb.JobServiceWatchResponse]:
        platform = await self._platform_of(context)
        job = await platform.jobs.get(request.ref)
        async for event in platform.jobs.events(job.id, after=request.after):
            yield pb.JobServiceWatchResponse(event=to_message(pb.JobEvent, event))

    async def ListLogs(
        self, request: pb.JobServiceListLogsRequest, context: Context
    ) -> pb.JobServiceListLogsResponse:
        platform = await self._platform_of(context)
        found = await platform.jobs.logs(request.ref)
        return pb.JobServiceListLogsResponse(logs=to_messages(pb.StepLog, found))

    async def ReadLog(
        self, request: pb.JobServiceReadLogRequest, context: Context
    ) -> AsyncIterator[pb.JobServiceReadLogResponse]:
        platform = await self._platform_of(context)
        job = await platform.jobs.get(request.ref)
        names = [log.name for log in await platform.jobs.logs(job.id)]
        if request.name not in names:
            raise NotFound("log", request.name, hint=f"The job has: {', '.join(names) or 'none'}.")
        async for piece in platform.jobs.read(job.id, f"logs/{request.name}", offset=request.offset):
            yield pb.JobServiceReadLogResponse(data=piece)

    async def ReadArtifact(
        self, request: pb.JobServiceReadArtifactRequest, context: Context
    ) -> AsyncIterator[pb.JobServiceReadArtifactResponse]:
        platform = await self._platform_of(context)
        job = await platform.jobs.get(request.ref)
        async for piece in platform.jobs.read(job.id, _artifact(job, request.name), offset=request.offset):
            yield pb.JobServiceReadArtifactResponse(data=piece)

    async def ReadPatch(
        self, request: pb.JobServiceReadPatchRequest, context: Context
    ) -> AsyncIterator[pb.JobServiceReadPatchResponse]:
        platform = await self._platform_of(context)
        job = await platform.jobs.get(request.ref)
        path = "" if job.patch is None else job.patch.delta if request.delta else job.patch.path
        if not path:
            raise NotFound(
                "patch of the job", job.id, hint="The job changed nothing, or has not got that far."
            )
        async for piece in platform.jobs.read(job.id, path, offset=request.offset):
            yield pb.JobServiceReadPatchResponse(data=piece)


def _spec(message: pb.JobSpec) -> JobSpec:
    spec = from_message(message, JobSpec)
    if isinstance(spec.source, GitSource | DirectorySource) and spec.source.depth == _WHOLE:
        return replace(spec, source=replace(spec.source, depth=None))
    return spec


def _job(job: Job) -> pb.Job:
    message, source = to_message(pb.Job, job), job.spec.source
    if isinstance(source, GitSource | DirectorySource) and source.depth is None:
        getattr(message.spec.source, source.kind).depth = _WHOLE
    return message


def _artifact(job: Job, name: str) -> str:
    """The path of an artifact. Raises NotFound."""
    for item in job.artifacts:
        if name in (item.name, item.path):
            return item.path
    raise NotFound(
        "artifact", name, hint=f"The job has: {', '.join(a.path for a in job.artifacts) or 'none'}."
    )
