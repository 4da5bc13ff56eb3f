"""Tasks, jobs, schedules, queues and events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode
from grpc.aio import AioRpcError, Channel

from aetherium.protocol.generated import events_pb2, jobs_pb2, queues_pb2, schedules_pb2
from aetherium.protocol.generated import tasks_pb2 as pb
from aetherium.protocol.generated.events_pb2_grpc import EventServiceStub
from aetherium.protocol.generated.jobs_pb2_grpc import JobServiceStub
from aetherium.protocol.generated.queues_pb2_grpc import QueueServiceStub
from aetherium.protocol.generated.schedules_pb2_grpc import ScheduleServiceStub
from aetherium.protocol.generated.tasks_pb2_grpc import TaskServiceStub
from tests.integration.gateway.grpc.conftest import Served, told

if TYPE_CHECKING:
    from aetherium.protocol.generated.events_pb2_grpc import EventServiceAsyncStub
    from aetherium.protocol.generated.jobs_pb2_grpc import JobServiceAsyncStub
    from aetherium.protocol.generated.queues_pb2_grpc import QueueServiceAsyncStub
    from aetherium.protocol.generated.schedules_pb2_grpc import ScheduleServiceAsyncStub
    from aetherium.protocol.generated.tasks_pb2_grpc import TaskServiceAsyncStub

_DEADLINE_S = 30
LATER = Timestamp(seconds=4102444800)  # 2100


def _spec(payload: dict[str, Any] | None = None, **more: Any) -> pb.TaskSpec:
    struct = Struct()
    struct.update(payload or {})
    return pb.TaskSpec(type="system.noop", payload=struct, **more)


@pytest.fixture
def tasks(channel: Channel) -> TaskServiceAsyncStub:
    return TaskServiceStub(channel)


@pytest.fixture
def jobs(channel: Channel) -> JobServiceAsyncStub:
    return JobServiceStub(channel)


async def test_a_task_is_submitted_found_and_cancelled(served: Served, tasks: TaskServiceAsyncStub) -> None:
    spec = _spec({"failures": 1}, priority=pb.PRIORITY_HIGH, run_at=LATER, group="g", labels={"a": "b"})
    request = pb.TaskServiceSubmitRequest(spec=spec, idempotency_key="k")
    task = (await tasks.Submit(request)).task
    assert (task.state, task.spec.priority) == (pb.TASK_STATE_SCHEDULED, pb.PRIORITY_HIGH)
    assert (await tasks.Submit(request)).task.id == task.id
    stored = (await served.platform.tasks.get(task.id)).spec.payload["failures"]
    assert (stored, type(stored)) == (1, int)
    assert (await tasks.Get(pb.TaskServiceGetRequest(ref=task.id[:14]))).task == task
    cancelled = (await tasks.Cancel(pb.TaskServiceCancelRequest(ref=task.id, reason="not needed"))).task
    assert cancelled.state == pb.TASK_STATE_CANCELLED
    waited = (await tasks.Wait(pb.TaskServiceWaitRequest(ref=task.id, timeout_s=1))).task
    assert waited == cancelled


async def test_tasks_are_listed_by_filters_in_pages(tasks: TaskServiceAsyncStub) -> None:
    many = pb.TaskServiceSubmitManyRequest(specs=[_spec(run_at=LATER, group="many")] * 5)
    made = [task.id for task in (await tasks.SubmitMany(many)).tasks]
    await tasks.Submit(pb.TaskServiceSubmitRequest(spec=_spec(run_at=LATER)))
    first = await tasks.List(pb.TaskServiceListRequest(group="many", limit=3))
    rest = await tasks.List(pb.TaskServiceListRequest(group="many", limit=3, cursor=first.next_cursor))
    assert [task.id for task in (*first.tasks, *rest.tasks)] == sorted(made, reverse=True)
    assert rest.next_cursor == ""
    states = pb.TaskServiceListRequest(states=[pb.TASK_STATE_SCHEDULED], types=["system.noop"])
    assert len((await tasks.List(states)).tasks) == 6
    assert not (await tasks.List(pb.TaskServiceListRequest(priority=pb.PRIORITY_LOW))).tasks


async def test_a_dead_task_is_requeued_and_discarded(tasks: TaskServiceAsyncStub) -> None:
    spec = _spec({"failures": 9}, retry=pb.Retry(max_attempts=1))
    task = (await tasks.Submit(pb.TaskServiceSubmitRequest(spec=spec))).task
    wait = pb.TaskServiceWaitRequest(ref=task.id, timeout_s=_DEADLINE_S)
    assert (await tasks.Wait(wait)).task.state == pb.TASK_STATE_DEAD
    attempts = (await tasks.ListAttempts(pb.TaskServiceListAttemptsRequest(ref=task.id))).attempts
    assert [attempt.number for attempt in attempts] == [1]
    assert attempts[0].error_code
    await tasks.Requeue(pb.TaskServiceRequeueRequest(ref=task.id))
    assert (await tasks.Wait(wait)).task.attempt == 2
    discarded = (await tasks.Discard(pb.TaskServiceDiscardRequest(ref=task.id))).task
    assert discarded.state == pb.TASK_STATE_DISCARDED
    with pytest.raises(AioRpcError) as caught:
        await tasks.Requeue(pb.TaskServiceRequeueRequest(ref=task.id))
    assert caught.value.code() is StatusCode.FAILED_PRECONDITION


async def test_many_are_changed_at_once(tasks: TaskServiceAsyncStub) -> None:
    night = pb.TaskChoice(group="night")
    later = pb.TaskServiceSubmitManyRequest(specs=[_spec(run_at=LATER, group="night")] * 3)
    await tasks.SubmitMany(later)
    cancel = pb.TaskServiceCancelManyRequest(choice=night, reason="not needed")
    assert [(await tasks.CancelMany(cancel)).changed for _ in range(2)] == [3, 0]
    doomed = _spec({"failures": 9}, group="night", retry=pb.Retry(max_attempts=1))
    dead = (await tasks.SubmitMany(pb.TaskServiceSubmitManyRequest(specs=[doomed] * 2))).tasks
    for task in dead:
        await tasks.Wait(pb.TaskServiceWaitRequest(ref=task.id, timeout_s=_DEADLINE_S))
    requeue = pb.TaskServiceRequeueManyRequest(choice=pb.TaskChoice(ids=[dead[0].id]))
    assert (await tasks.RequeueMany(requeue)).changed == 1
    again = await tasks.Wait(pb.TaskServiceWaitRequest(ref=dead[0].id, timeout_s=_DEADLINE_S))
    assert again.task.state == pb.TASK_STATE_DEAD
    assert (await tasks.DiscardMany(pb.TaskServiceDiscardManyRequest(choice=night))).changed == 2
    for nothing in (pb.TaskChoice(), pb.TaskChoice(group="night", all=True)):
        with pytest.raises(AioRpcError) as caught:
            await tasks.DiscardMany(pb.TaskServiceDiscardManyRequest(choice=nothing))
        assert told(caught.value).details["field"] == "all"


async def test_the_types_have_schemas(tasks: TaskServiceAsyncStub) -> None:
    types = (await tasks.ListTypes(pb.TaskServiceListTypesRequest())).types
    noop = next(kind for kind in types if kind.name == "system.noop")
    assert noop.public
    assert "properties" in noop.payload


async def test_what_is_wrong_with_a_task_is_told_with_its_field(tasks: TaskServiceAsyncStub) -> None:
    for spec, words in ((pb.TaskSpec(), "type"), (_spec(retry=pb.Retry(max_attempts=0)), "max_attempts")):
        with pytest.raises(AioRpcError) as caught:
            await tasks.Submit(pb.TaskServiceSubmitRequest(spec=spec))
        assert caught.value.code() is StatusCode.INVALID_ARGUMENT
        assert words in str(told(caught.value).details["field"])


async def test_a_schedule_is_made_run_and_deleted(channel: Channel) -> None:
    stub: ScheduleServiceAsyncStub = ScheduleServiceStub(channel)
    spec = schedules_pb2.ScheduleSpec(task=_spec(), cron="0 0 1 1 *", overlap=False)
    request = schedules_pb2.ScheduleServiceCreateRequest(name="yearly", spec=spec)
    made = (await stub.Create(request)).schedule
    assert (made.spec.zone, made.spec.overlap, made.HasField("next_at")) == ("UTC", False, True)
    paused = (await stub.Pause(schedules_pb2.ScheduleServicePauseRequest(ref="yearly"))).schedule
    assert (paused.paused, paused.HasField("next_at")) == (True, False)
    resumed = (await stub.Resume(schedules_pb2.ScheduleServiceResumeRequest(ref="yearly"))).schedule
    assert resumed.next_at == made.next_at
    task = (await stub.RunNow(schedules_pb2.ScheduleServiceRunNowRequest(ref="yearly"))).task
    assert task.schedule_id == made.id
    assert (await stub.Get(schedules_pb2.ScheduleServiceGetRequest(ref="yearly"))).schedule.id == made.id
    await stub.Delete(schedules_pb2.ScheduleServiceDeleteRequest(ref="yearly"))
    assert not (await stub.List(schedules_pb2.ScheduleServiceListRequest())).schedules


async def test_queues_are_paused_and_types_limited(channel: Channel) -> None:
    stub: QueueServiceAsyncStub = QueueServiceStub(channel)
    queues = (await stub.List(queues_pb2.QueueServiceListRequest())).queues
    assert [queue.priority for queue in queues] == [1, 2, 3, 4]
    low = queues_pb2.QueueServicePauseRequest(priority=pb.PRIORITY_LOW)
    assert (await stub.Pause(low)).queue.paused
    resume = queues_pb2.QueueServiceResumeRequest(priority=pb.PRIORITY_LOW)
    assert not (await stub.Resume(resume)).queue.paused
    with pytest.raises(AioRpcError) as caught:
        await stub.Pause(queues_pb2.QueueServicePauseRequest())
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    limit = queues_pb2.TypeLimit(per_second=2.5)
    await stub.SetLimit(queues_pb2.QueueServiceSetLimitRequest(task_type="system.noop", limit=limit))
    limits = (await stub.ListLimits(queues_pb2.QueueServiceListLimitsRequest())).limits
    assert (limits["system.noop"].per_second, limits["system.noop"].burst) == (2.5, 1)
    await stub.ClearLimit(queues_pb2.QueueServiceClearLimitRequest(task_type="system.noop"))
    assert not (await stub.ListLimits(queues_pb2.QueueServiceListLimitsRequest())).limits


async def test_events_are_watched_from_a_number_on(channel: Channel, tasks: TaskServiceAsyncStub) -> None:
    stub: EventServiceAsyncStub = EventServiceStub(channel)
    call = stub.Watch(events_pb2.EventServiceWatchRequest(types=["task.*"]))
    await call.initial_metadata()
    task = (await tasks.Submit(pb.TaskServiceSubmitRequest(spec=_spec()))).task
    seen: list[events_pb2.Event] = []
    async with asyncio.timeout(_DEADLINE_S):
        while not seen or seen[-1].type != "task.succeeded":
            response = await call.read()
            assert isinstance(response, events_pb2.EventServiceWatchResponse)
            seen.append(response.event)
    call.cancel()
    assert {event.subject for event in seen} == {task.id}
    request = events_pb2.EventServiceWatchRequest(types=["task.*"], after=seen[0].seq, ends=True)
    assert [answer.event async for answer in stub.Watch(request)] == seen[1:]
    request = events_pb2.EventServiceWatchRequest(types=["task.*"], latest=1, ends=True)
    assert [answer.event async for answer in stub.Watch(request)] == seen[-1:]


async def test_a_job_is_watched_and_brings_things_back(served: Served, jobs: JobServiceAsyncStub) -> None:
    spec = jobs_pb2.JobSpec(
        steps=[
            jobs_pb2.JobStep(name="one", run="echo $WORD $TOKEN; echo made > out.txt"),
            jobs_pb2.JobStep(name="two", argv=["/bin/false"], continue_on_error=True),
        ],
        env={"WORD": "hello"},
        secrets=["TOKEN"],
        workdir=str(served.data_dir / "work"),
        artifacts=[jobs_pb2.ArtifactRule(pattern="out.txt", name="out")],
    )
    request = jobs_pb2.JobServiceSubmitRequest(spec=spec, secrets={"TOKEN": "hunter22"}, idempotency_key="j")
    job = (await jobs.Submit(request)).job
    assert (await jobs.Submit(request)).job.id == job.id
    async with asyncio.timeout(_DEADLINE_S):
        events = [answer.event async for answer in jobs.Watch(jobs_pb2.JobServiceWatchRequest(ref=job.id))]
        ended = (await jobs.Wait(jobs_pb2.JobServiceWaitRequest(ref=job.id))).job
    assert (ended.state, ended.error) == (jobs_pb2.JOB_STATE_SUCCEEDED, "")
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].kind == "finished"
    again = jobs_pb2.JobServiceWatchRequest(ref=job.id, after=events[2].seq)
    assert [answer.event async for answer in jobs.Watch(again)] == events[3:]
    assert [(step.name, step.ignored, step.result.exit_code) for step in ended.steps] == [
        ("one", False, 0),
        ("two", True, 1),
    ]
    logs = (await jobs.ListLogs(jobs_pb2.JobServiceListLogsRequest(ref=job.id))).logs
    read = jobs_pb2.JobServiceReadLogRequest(ref=job.id, name=logs[0].name)
    log = b"".join([piece.data async for piece in jobs.ReadLog(read)])
    assert log.startswith(b"hello ")
    assert b"hunter22" not in log
    read_ = jobs_pb2.JobServiceReadArtifactRequest(ref=job.id, name="out", offset=2)
    assert b"".join([piece.data async for piece in jobs.ReadArtifact(read_)]) == b"de\n"
    listed = await jobs.List(jobs_pb2.JobServiceListRequest(states=[jobs_pb2.JOB_STATE_SUCCEEDED]))
    assert [one.id for one in listed.jobs] == [job.id]
    await jobs.Delete(jobs_pb2.JobServiceDeleteRequest(ref=job.id))
    with pytest.raises(AioRpcError) as caught:
        await jobs.Get(jobs_pb2.JobServiceGetRequest(ref=job.id))
    assert caught.value.code() is StatusCode.NOT_FOUND


async def test_what_a_job_does_not_have_is_named(jobs: JobServiceAsyncStub, served: Served) -> None:
    step = jobs_pb2.JobStep(name="one", run="exec sleep 60")
    spec = jobs_pb2.JobSpec(steps=[step], workdir=str(served.data_dir / "work"))
    job = (await jobs.Submit(jobs_pb2.JobServiceSubmitRequest(spec=spec))).job
    await jobs.Cancel(jobs_pb2.JobServiceCancelRequest(ref=job.id))
    ended = (await jobs.Wait(jobs_pb2.JobServiceWaitRequest(ref=job.id))).job
    assert ended.state == jobs_pb2.JOB_STATE_CANCELLED
    for call in (
        jobs.ReadLog(jobs_pb2.JobServiceReadLogRequest(ref=job.id, name="none")),
        jobs.ReadArtifact(jobs_pb2.JobServiceReadArtifactRequest(ref=job.id, name="none")),
        jobs.ReadPatch(jobs_pb2.JobServiceReadPatchRequest(ref=job.id)),
    ):
        with pytest.raises(AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is StatusCode.NOT_FOUND
