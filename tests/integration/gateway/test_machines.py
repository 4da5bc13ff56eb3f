"""VMs and files as objects."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest

from aetherium.client import Client
from aetherium.client.aio import AsyncClient
from aetherium.client.commands import CommandFailed
from aetherium.client.machines import Machine
from aetherium.client.retries import RetryPolicy
from aetherium.domain.errors import GuestError, InvalidInput, NotFound
from aetherium.domain.executions import ExecutionState
from aetherium.domain.identity import Role
from aetherium.domain.tasks import TaskSpec
from aetherium.domain.vms import VM, Resources, VMSpec, VMState
from tests.integration.gateway.conftest import Gateway


@pytest.fixture
async def machine(client: AsyncClient, vm: VM) -> Machine:
    return await client.vms.get(vm.id)


async def test_a_vm_lives_for_the_length_of_a_block(client: AsyncClient) -> None:
    async with client.vms.create(image="base", name="box", resources=Resources(memory_mib=256)) as vm:
        assert (vm.state, vm.spec.name, vm.spec.resources.memory_mib) == (VMState.RUNNING, "box", 256)
        assert await client.vms.get("box") == vm
    with pytest.raises(NotFound):
        await client.vms.get("box")


async def test_it_is_deleted_however_the_block_is_left(client: AsyncClient) -> None:
    with pytest.raises(KeyError):
        async with client.vms.create(VMSpec(name="failed")):
            raise KeyError
    async with client.vms.create(name="deleted") as vm:
        await vm.delete()
    begun = asyncio.Event()

    async def hold() -> None:
        async with client.vms.create(name="cancelled"):
            begun.set()
            await asyncio.Event().wait()

    holding = asyncio.ensure_future(hold())
    await begun.wait()
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert await client.vms.list() == []


async def test_a_command_is_a_script_or_a_program(machine: Machine, tmp_path: Path) -> None:
    result = await machine.run("echo $WORD; pwd >&2; exit 3", env={"WORD": "hi"}, cwd=str(tmp_path))
    assert (result.exit_code, result.ok, result.stdout, result.stderr) == (3, False, "hi\n", f"{tmp_path}\n")
    with pytest.raises(CommandFailed, match=f"3: {tmp_path}") as failed:
        result.check()
    assert failed.value.result is result
    exact = await machine.run(["printf", "%s", "$HOME \xff"])
    assert exact.check().stdout == "$HOME \xff"
    assert (await machine.run("kill -9 $$")).exit_code == 137
    assert (await machine.run(["no-such-program"])).exit_code == 127


async def test_a_process_is_followed_and_ended(machine: Machine) -> None:
    process = await machine.start("echo on; sleep 60")
    async with process.output() as output:
        async for chunk in output:
            assert chunk.data == b"on\n"
            await process.kill()
    ended = await process.wait()
    assert ended.state is ExecutionState.CANCELLED
    assert [found.id async for found in machine.processes()] == [process.id]
    async with machine.stream("seq 3") as output:
        assert b"".join([chunk.data async for chunk in output]) == b"1\n2\n3\n"
    async with machine.interact("cat") as session:
        await session.write(b"back")
        await session.close_stdin()
        assert b"".join([chunk.data async for chunk in session]) == b"back"
    async with machine.shell("tty >/dev/null && echo terminal") as session:
        assert b"terminal" in b"".join([chunk.data async for chunk in session])


async def test_what_changes_it_answers_with_the_newer_one(machine: Machine) -> None:
    paused = await machine.pause()
    assert (machine.state, paused.state) == (VMState.RUNNING, VMState.PAUSED)
    assert (await machine.refresh()).state is VMState.PAUSED
    assert (await paused.resume()).state is VMState.RUNNING
    assert (await machine.extend(60)).expires_at is not None
    snapshot = await machine.snapshot("warm")
    assert snapshot.vm_id == machine.id
    forks = await machine.fork(2, names=["a", "b"])
    assert [fork.spec.name for fork in forks] == ["a", "b"]
    assert (await machine.metrics()).vm_id == machine.id
    assert (await machine.stop()).state is VMState.STOPPED


async def test_files_are_opened_as_elsewhere(machine: Machine, tmp_path: Path) -> None:
    path = str(tmp_path / "notes")
    async with machine.files.open(path, "w") as notes:
        await notes.write("one\ntwö\n")
        await notes.write("three")
    async with machine.files.open(path, "a") as notes:
        await notes.write("!\n")
    async with machine.files.open(path) as notes:
        assert [line async for line in notes] == ["one\n", "twö\n", "three!\n"]
    async with machine.files.open(path) as notes:
        assert await notes.read(6) == "one\ntw"
        assert await notes.read() == "ö\nthree!\n"
    async with machine.files.open(path, "rb+") as data:
        assert await data.readline() == b"one\n"
        await data.write(b"TW")
        assert data.tell() == 6
        assert await data.read(3) == "ö\n".encode()
        await data.seek(-2, io.SEEK_END)
        assert await data.read() == b"!\n"
    assert await machine.files.read_text(path) == "one\nTWö\nthree!\n"


async def test_files_refuse_as_elsewhere(machine: Machine, tmp_path: Path) -> None:
    path = str(tmp_path / "new")
    with pytest.raises(GuestError) as missing:
        await machine.files.open(path)
    assert missing.value.details["errno"] == "ENOENT"
    await (await machine.files.open(path, "x")).close()
    with pytest.raises(GuestError) as there:
        await machine.files.open(path, "x")
    assert there.value.details["errno"] == "EEXIST"
    with pytest.raises(InvalidInput, match="rw"):
        machine.files.open(path, "rw")  # type: ignore[call-overload]
    async with machine.files.open(path) as file:
        with pytest.raises(io.UnsupportedOperation):
            await file.write("x")
    async with machine.files.open(path, "wb") as data:
        with pytest.raises(io.UnsupportedOperation):
            await data.read()


async def test_links_are_written_through(machine: Machine, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"some")
    link.symlink_to("target")
    async with machine.files.open(str(link), "ab") as data:
        await data.write(b"more")
    assert link.is_symlink()
    assert target.read_bytes() == b"somemore"


async def test_files_and_directories_go_in_and_out(machine: Machine, tmp_path: Path) -> None:
    here = tmp_path / "here"
    (here / "sub").mkdir(parents=True)
    (here / "sub" / "file").write_bytes(b"x" * 300_000)
    there, back = str(tmp_path / "there"), tmp_path / "back"
    await machine.files.upload(here, there)
    await machine.files.download(there, back)
    assert (back / "sub" / "file").read_bytes() == b"x" * 300_000
    await machine.files.upload(here / "sub" / "file", f"{there}/file")
    await machine.files.download(f"{there}/file", tmp_path / "one")
    assert (tmp_path / "one").stat().st_size == 300_000
    assert [entry.path.rpartition("/")[2] for entry in await machine.files.list(there)] == ["file", "sub"]


def _use(socket: Path, directory: Path) -> None:
    path = str(directory / "file")
    with Client.unix(socket, retry=RetryPolicy()) as client, client.vms.create(name="box") as vm:
        assert vm.run("echo hi").check().stdout == "hi\n"
        assert b"".join(chunk.data for chunk in vm.stream(["seq", "2"])) == b"1\n2\n"
        process = vm.start("echo on; sleep 60")
        assert next(process.output()).data == b"on\n"
        process.kill()
        assert process.wait().ended_at
        assert next(vm.processes()).id == process.id
        with vm.files.open(path, "w") as text:
            print("one", "twö", sep="\n", file=text)
        with vm.files.open(path) as text:
            assert list(text) == ["one\n", "twö\n"]
        with vm.files.open(path, "rb+") as data:
            data.seek(-1, io.SEEK_END)
            data.write(b"!")
        with vm.files.open(path, "rb") as data:
            assert data.read() == "one\ntwö!".encode()
        assert vm.pause().resume().state is VMState.RUNNING
        assert [found.spec.name for found in vm.fork(names=["copy"])] == ["copy"]
        assert {found.spec.name for found in client.vms.iterate()} == {"box", "copy"}
    with Client.unix(socket) as client, pytest.raises(NotFound):
        client.vms.get("box")


async def test_the_same_without_an_event_loop(gateway: Gateway, tmp_path: Path) -> None:
    async with asyncio.timeout(60):
        await asyncio.to_thread(_use, gateway.socket, tmp_path)


async def test_lists_are_read_page_by_page(client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aetherium.client.paging._PAGE", 2)
    pages = 0
    call = client.tasks._http.call

    async def counted(*args: object, **more: object) -> object:
        nonlocal pages
        pages += 1
        return await call(*args, **more)  # type: ignore[arg-type]

    made = await client.tasks.submit_many([TaskSpec("system.noop")] * 5)
    monkeypatch.setattr(client.tasks._http, "call", counted)
    found = [task.id async for task in client.tasks.iterate()]
    assert (sorted(found), pages) == (sorted(task.id for task in made), 3)
    async for task in client.tasks.iterate():
        assert task.id == found[0]
        break
    assert pages == 4
    assert len(await client.tasks.list(limit=3)) == 3


async def test_lists_have_all_pages(client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aetherium.client.paging._PAGE", 1)
    for each in ("A", "B", "C"):
        await client.api_keys.create(each, project="default")
        await client.members.add(f"oidc:https://id.example#{each}", Role.VIEWER)
        await client.secrets.set(each, "value")
        await client.projects.create(each.lower())
    assert [key.name for key in await client.api_keys.list()] == ["C", "B", "A"]
    assert [each.subject[-1] for each in await client.members.list()] == ["A", "B", "C"]
    assert [each.name for each in await client.secrets.list()] == ["A", "B", "C"]
    assert [each.name for each in await client.projects.list()] == ["a", "b", "c", "default"]
