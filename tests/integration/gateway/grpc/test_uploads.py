"""Jobs that begin with what was uploaded."""

from __future__ import annotations

import asyncio
import hashlib
import io
import tarfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode
from grpc.aio import AioRpcError, Channel

from aetherium.domain.identity import Role
from aetherium.protocol.generated import jobs_pb2
from aetherium.protocol.generated import uploads_pb2 as pb
from aetherium.protocol.generated.jobs_pb2_grpc import JobServiceStub
from aetherium.protocol.generated.uploads_pb2_grpc import UploadServiceStub
from tests.integration.gateway.grpc.conftest import Served, bearer, told

if TYPE_CHECKING:
    from aetherium.protocol.generated.jobs_pb2_grpc import JobServiceAsyncStub
    from aetherium.protocol.generated.uploads_pb2_grpc import UploadServiceAsyncStub

_DEADLINE_S = 30
_PIECE = 1000
Request = pb.UploadServiceCreateRequest


@pytest.fixture
def uploads(channel: Channel) -> UploadServiceAsyncStub:
    return UploadServiceStub(channel)


@pytest.fixture
def jobs(channel: Channel) -> JobServiceAsyncStub:
    return JobServiceStub(channel)


def _archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("a.txt")
        entry.size = 6
        archive.addfile(entry, io.BytesIO(b"hello\n"))
    return buffer.getvalue()


def _parts(data: bytes) -> Iterator[Request]:
    for at in range(0, len(data), _PIECE):
        yield Request(data=data[at : at + _PIECE])


def _submit(upload_id: str) -> jobs_pb2.JobServiceSubmitRequest:
    source = jobs_pb2.JobSource(upload=jobs_pb2.UploadSource(upload_id=upload_id))
    step = jobs_pb2.JobStep(name="show", run="cat a.txt")
    return jobs_pb2.JobServiceSubmitRequest(spec=jobs_pb2.JobSpec(steps=[step], source=source, patch=False))


async def test_a_job_begins_with_an_upload_of_its_project(
    served: Served, uploads: UploadServiceAsyncStub, jobs: JobServiceAsyncStub
) -> None:
    data = _archive()
    requests = iter((*_parts(data), Request(end=Empty())))
    async with asyncio.timeout(_DEADLINE_S):
        upload = (await uploads.Create(requests)).upload
        assert (upload.size_bytes, upload.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        job = (await jobs.Submit(_submit(upload.id))).job
        ended = (await jobs.Wait(jobs_pb2.JobServiceWaitRequest(ref=job.id))).job
        assert ended.state == jobs_pb2.JOB_STATE_SUCCEEDED
        log = (await jobs.ListLogs(jobs_pb2.JobServiceListLogsRequest(ref=job.id))).logs[0]
        pieces = jobs.ReadLog(jobs_pb2.JobServiceReadLogRequest(ref=job.id, name=log.name))
        assert b"".join([piece.data async for piece in pieces]) == b"hello\n"

    lab = await served.platform.projects.create("lab")
    stranger = await bearer(served.platform, project_id=lab.id, role=Role.OPERATOR)
    with pytest.raises(AioRpcError) as caught:
        await jobs.Submit(_submit(upload.id), metadata=stranger)
    assert caught.value.code() is StatusCode.NOT_FOUND


async def test_an_upload_that_breaks_off_is_refused(uploads: UploadServiceAsyncStub) -> None:
    with pytest.raises(AioRpcError) as caught:
        await uploads.Create(_parts(_archive()), timeout=_DEADLINE_S)
    assert (caught.value.code(), told(caught.value).code) == (StatusCode.ABORTED, "channel_closed")
