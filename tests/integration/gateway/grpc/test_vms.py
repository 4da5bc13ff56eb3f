"""VMs, their snapshots and their files."""

from __future__ import annotations

import asyncio
import hashlib
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode
from grpc.aio import AioRpcError, Channel

from aetherium.domain.errors import GuestError, NotFound
from aetherium.domain.vms import VM
from aetherium.protocol.generated import files_pb2, snapshots_pb2
from aetherium.protocol.generated import vms_pb2 as pb
from aetherium.protocol.generated.files_pb2_grpc import FileServiceStub
from aetherium.protocol.generated.snapshots_pb2_grpc import SnapshotServiceStub
from aetherium.protocol.generated.vms_pb2_grpc import VMServiceStub
from tests.fixtures.waiting import eventually
from tests.integration.gateway.grpc.conftest import Served, told

if TYPE_CHECKING:
    from aetherium.protocol.generated.files_pb2_grpc import FileServiceAsyncStub
    from aetherium.protocol.generated.snapshots_pb2_grpc import SnapshotServiceAsyncStub
    from aetherium.protocol.generated.vms_pb2_grpc import VMServiceAsyncStub

_DEADLINE_S = 20


@pytest.fixture
def vms(channel: Channel) -> VMServiceAsyncStub:
    return VMServiceStub(channel)


@pytest.fixture
def files(channel: Channel) -> FileServiceAsyncStub:
    return FileServiceStub(channel)


async def test_a_vm_is_made_looked_at_and_deleted(vms: VMServiceAsyncStub) -> None:
    spec = pb.VMSpec(name="one", labels={"a": "b"}, resources=pb.Resources(memory_mib=256))
    made = (await vms.Create(pb.VMServiceCreateRequest(spec=spec))).vm
    assert (made.state, made.spec.resources.memory_mib, made.spec.image) == (pb.VM_STATE_RUNNING, 256, "base")
    assert (await vms.Get(pb.VMServiceGetRequest(ref="one"))).vm.id == made.id
    metrics = (await vms.GetMetrics(pb.VMServiceGetMetricsRequest(ref="one"))).metrics
    assert metrics.condition == "running"
    assert (await vms.Diagnose(pb.VMServiceDiagnoseRequest(ref="one"))).checks
    await vms.GetConsole(pb.VMServiceGetConsoleRequest(ref="one"))
    await vms.Extend(pb.VMServiceExtendRequest(ref="one", ttl_s=60))
    assert (await vms.Extend(pb.VMServiceExtendRequest(ref="one"))).vm.spec.HasField("ttl_s") is False
    assert (await vms.Pause(pb.VMServicePauseRequest(ref="one"))).vm.state == pb.VM_STATE_PAUSED
    assert (await vms.Resume(pb.VMServiceResumeRequest(ref="one"))).vm.state == pb.VM_STATE_RUNNING
    stopped = (await vms.Stop(pb.VMServiceStopRequest(ref="one", grace_s=5))).vm
    assert stopped.state == pb.VM_STATE_STOPPED
    await vms.Delete(pb.VMServiceDeleteRequest(ref="one"))
    with pytest.raises(AioRpcError) as caught:
        await vms.Get(pb.VMServiceGetRequest(ref=made.id))
    assert isinstance(told(caught.value), NotFound)


async def test_vms_are_listed_in_pages(vms: VMServiceAsyncStub, vm: VM) -> None:
    made = list((await vms.Fork(pb.VMServiceForkRequest(ref="box", count=2, names=["f1", "f2"]))).vms)
    assert [fork.spec.name for fork in made] == ["f1", "f2"]
    first = await vms.List(pb.VMServiceListRequest(limit=2))
    rest = await vms.List(pb.VMServiceListRequest(limit=2, cursor=first.next_cursor))
    found = [one.id for one in (*first.vms, *rest.vms)]
    assert (len(first.vms), rest.next_cursor) == (2, "")
    assert found == [made[1].id, made[0].id, vm.id]
    stopped = await vms.List(pb.VMServiceListRequest(states=[pb.VM_STATE_STOPPED]))
    assert not stopped.vms
    unknown = pb.VMServiceListRequest.FromString(b"\x08\x63")  # the state 99
    for request in (pb.VMServiceListRequest(limit=-1), unknown):
        with pytest.raises(AioRpcError) as caught:
            await vms.List(request)
        assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    for one in made:
        await vms.Delete(pb.VMServiceDeleteRequest(ref=one.id))


async def test_making_one_tells_how_far_it_is(vms: VMServiceAsyncStub) -> None:
    request = pb.VMServiceCreateStreamRequest(spec=pb.VMSpec(name="one"))
    key = (("idempotency-key", "k"),)
    *steps, last = [step async for step in vms.CreateStream(request, metadata=key)]
    assert steps
    assert all(step.progress for step in steps)
    assert last.vm.state == pb.VM_STATE_RUNNING
    # The second time there is nothing to tell.
    assert [step async for step in vms.CreateStream(request, metadata=key)] == [last]
    with pytest.raises(AioRpcError) as caught:
        [step async for step in vms.CreateStream(request)]
    assert caught.value.code() is StatusCode.ALREADY_EXISTS
    await vms.Delete(pb.VMServiceDeleteRequest(ref="one"))


async def test_a_request_that_is_cancelled_leaves_no_vm(served: Served, vms: VMServiceAsyncStub) -> None:
    with pytest.raises(AioRpcError) as caught:
        await vms.Create(pb.VMServiceCreateRequest(), timeout=0.01)
    assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED

    async def none() -> bool:
        return not await served.platform.vms.list()

    await eventually(none)


async def test_a_snapshot_is_made_and_restored(channel: Channel, vms: VMServiceAsyncStub, vm: VM) -> None:
    stub: SnapshotServiceAsyncStub = SnapshotServiceStub(channel)
    request = snapshots_pb2.SnapshotServiceCreateRequest(vm="box", name="s1")
    made = (await stub.Create(request)).snapshot
    assert (made.state, made.vm_id) == (snapshots_pb2.SNAPSHOT_STATE_READY, vm.id)
    assert (await stub.Get(snapshots_pb2.SnapshotServiceGetRequest(ref="s1"))).snapshot == made
    listed = await stub.List(snapshots_pb2.SnapshotServiceListRequest())
    assert [one.id for one in listed.snapshots] == [made.id]
    restored = (await vms.Create(pb.VMServiceCreateRequest(snapshot="s1"))).vm
    assert restored.snapshot_id == made.id
    await vms.Delete(pb.VMServiceDeleteRequest(ref=restored.id))
    await stub.Delete(snapshots_pb2.SnapshotServiceDeleteRequest(ref="s1"))
    assert not (await stub.List(snapshots_pb2.SnapshotServiceListRequest())).snapshots


async def _upload(
    path: str, *pieces: bytes, end: bool = True
) -> AsyncIterator[files_pb2.FileServiceWriteRequest]:
    where = files_pb2.WriteOpen(vm="box", path=path.encode(), mode=0o600)
    yield files_pb2.FileServiceWriteRequest(open=where)
    for piece in pieces:
        yield files_pb2.FileServiceWriteRequest(data=piece)
    if end:
        yield files_pb2.FileServiceWriteRequest(end=Empty())


async def test_files_go_both_ways(served: Served, files: FileServiceAsyncStub, vm: VM) -> None:
    root = str(served.data_dir / "tree")
    await files.Mkdir(files_pb2.FileServiceMkdirRequest(vm="box", path=f"{root}/a/b".encode()))
    pieces = [bytes([n]) * 65536 for n in range(40)]
    done = (await files.Write(_upload(f"{root}/a/big", *pieces))).file
    assert (done.size, done.mode) == (40 * 65536, 0o600)
    request = files_pb2.FileServiceReadRequest(vm="box", path=f"{root}/a/big".encode())
    assert b"".join([piece.data async for piece in files.Read(request)]) == b"".join(pieces)
    part = files_pb2.FileServiceReadRequest(vm="box", path=request.path, offset=65530, length=10)
    assert b"".join([piece.data async for piece in files.Read(part)]) == b"\0" * 6 + b"\1" * 4
    whole = await files.Checksum(files_pb2.FileServiceChecksumRequest(vm="box", path=request.path))
    digest = hashlib.sha256(b"".join(pieces)).hexdigest()
    assert (whole.size, whole.sha256) == (40 * 65536, digest)
    await files.Chmod(files_pb2.FileServiceChmodRequest(vm="box", path=request.path, mode=0o644))
    moved = f"{root}/a/moved".encode()
    await files.Move(files_pb2.FileServiceMoveRequest(vm="box", source=request.path, target=moved))
    stat = (await files.Stat(files_pb2.FileServiceStatRequest(vm="box", path=moved))).file
    assert (stat.mode, stat.kind) == (0o644, files_pb2.FILE_KIND_FILE)
    (root_ := Path(root) / "a" / "b").mkdir(exist_ok=True)
    for number in range(600):
        (root_ / f"{number:03}").touch()
    listing = files.List(files_pb2.FileServiceListRequest(vm="box", path=f"{root}/a/b".encode()))
    batches = [[entry.path.rpartition(b"/")[2] for entry in batch.files] async for batch in listing]
    assert [name for batch in batches for name in batch] == [b"%03d" % number for number in range(600)]
    assert len(batches) == 2
    await files.Remove(files_pb2.FileServiceRemoveRequest(vm="box", path=root.encode(), recursive=True))
    with pytest.raises(AioRpcError) as caught:
        await files.Stat(files_pb2.FileServiceStatRequest(vm="box", path=root.encode()))
    error = told(caught.value)
    assert isinstance(error, GuestError)
    assert error.details["errno"] == "ENOENT"


async def test_an_upload_without_its_end_changes_nothing(
    served: Served, files: FileServiceAsyncStub, vm: VM
) -> None:
    path = served.data_dir / "half"
    with pytest.raises(AioRpcError) as caught:
        await files.Write(_upload(str(path), b"x" * 100, end=False))
    assert told(caught.value).code == "channel_closed"
    assert not path.exists()


async def test_a_refusal_reaches_who_still_sends(files: FileServiceAsyncStub) -> None:
    with pytest.raises(AioRpcError) as caught:
        await files.Write(_upload("/tmp/x", *[b"x" * 65536] * 200))
    assert caught.value.code() is StatusCode.NOT_FOUND
    assert isinstance(told(caught.value), NotFound)


async def test_archives_go_in_and_out(served: Served, files: FileServiceAsyncStub, vm: VM) -> None:
    root = str(served.data_dir / "unpacked")
    await files.Mkdir(files_pb2.FileServiceMkdirRequest(vm="box", path=root.encode()))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("one")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))

    async def parts() -> AsyncIterator[files_pb2.FileServiceArchiveInRequest]:
        where = files_pb2.UnpackOpen(vm="box", path=root.encode())
        yield files_pb2.FileServiceArchiveInRequest(open=where)
        yield files_pb2.FileServiceArchiveInRequest(data=packed.getvalue())
        yield files_pb2.FileServiceArchiveInRequest(end=Empty())

    await files.ArchiveIn(parts())
    request = files_pb2.FileServiceArchiveOutRequest(vm="box", path=root.encode(), include=["one"])
    out = b"".join([piece.data async for piece in files.ArchiveOut(request)])
    with tarfile.open(fileobj=io.BytesIO(out)) as archive:
        file = archive.extractfile(next(name for name in archive.getnames() if name.endswith("one")))
        assert file is not None
        assert file.read() == b"abc"


async def test_changes_of_files_are_told(served: Served, files: FileServiceAsyncStub, vm: VM) -> None:
    root = served.data_dir / "watched"
    root.mkdir()
    call = files.Watch(files_pb2.FileServiceWatchRequest(vm="box", path=str(root).encode()))
    async with asyncio.timeout(_DEADLINE_S):
        first = await call.read()
        assert isinstance(first, files_pb2.FileServiceWatchResponse)
        assert not first.HasField("event")
        (root / "new").touch()
        event = await call.read()
    assert isinstance(event, files_pb2.FileServiceWatchResponse)
    assert (event.event.kind, event.event.path) == ("created", str(root / "new").encode())
    call.cancel()
