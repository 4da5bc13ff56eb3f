"""Stdin and terminals."""

from __future__ import annotations

import asyncio

from aetherium.channel import ChannelGuest
from aetherium.domain.executions import ExecutionSpec, TerminalSize
from tests.contract.guest.base import DEADLINE_S, ContractBase, output_until, refused, run, sh, unique

CAT = ExecutionSpec(("cat",), stdin=True)


class StdinContract(ContractBase):
    async def test_no_stdin(self, guest: ChannelGuest) -> None:
        _, stdout, _ = await run(guest, ExecutionSpec(("cat",)))
        assert stdout == b""

    async def test_small_and_large(self, guest: ChannelGuest) -> None:
        for data in (b"", b"x", bytes(range(256)) * 10_000):
            _, stdout, _ = await run(guest, CAT, stdin=data)
            assert stdout == data

    async def test_dialogue(self, guest: ChannelGuest) -> None:
        async with guest.launch(unique(), CAT) as attachment:
            for line in (b"one\n", b"two\n"):
                await attachment.write_stdin(line)
                assert await output_until(attachment, line) == line
            await attachment.close_stdin()
            assert (await attachment.result()).ok

    async def test_flow_control(self, guest: ChannelGuest, workdir: str) -> None:
        data = bytes(5_000_000)
        script = "while [ ! -e go ]; do sleep 0.02; done; wc -c"
        async with (
            asyncio.timeout(DEADLINE_S),
            guest.launch(unique(), sh(script, stdin=True, cwd=workdir)) as attachment,
            asyncio.TaskGroup() as group,
        ):
            writing = group.create_task(attachment.write_stdin(data))
            for _ in range(50):
                await guest.ping()
            assert not writing.done()
            await guest.write(f"{workdir}/go", b"")
            await writing
            await attachment.close_stdin()
            assert int(await output_until(attachment, b"\n")) == len(data)

    async def test_reader_that_leaves(self, guest: ChannelGuest) -> None:
        async with (
            asyncio.timeout(DEADLINE_S),
            guest.launch(unique(), sh("exec head -c 1", stdin=True)) as attachment,
        ):
            await attachment.write_stdin(bytes(3_000_000))
            await attachment.close_stdin()
            assert (await attachment.result()).ok

    async def test_stdin_goes_on_after_a_cut(self, guest: ChannelGuest) -> None:
        pieces = [bytes([n]) * 70_001 for n in range(30)]
        async with (
            asyncio.timeout(DEADLINE_S),
            guest.launch(unique(), sh("cat | cksum", stdin=True)) as attachment,
        ):
            for number, piece in enumerate(pieces):
                if number % 7 == 3:
                    guest.disconnect()
                await attachment.write_stdin(piece)
            guest.disconnect()
            await attachment.close_stdin()
            found = await output_until(attachment, b"\n")
        _, expected, _ = await run(guest, sh("cksum", stdin=True), stdin=b"".join(pieces))
        assert found == expected


class TerminalContract(ContractBase):
    async def test_size_and_resize(self, guest: ChannelGuest) -> None:
        script = "trap 'stty size; exit 4' WINCH; stty size; while :; do sleep 0.05; done"
        execution = unique()
        spec = sh(script, terminal=TerminalSize(rows=30, columns=100))
        async with guest.launch(execution, spec) as attachment:
            assert await output_until(attachment, b"\n") == b"30 100\r\n"
            await guest.resize(execution, TerminalSize(rows=50, columns=132))
            assert await output_until(attachment, b"\n") == b"50 132\r\n"
            assert (await attachment.result()).exit_code == 4
        with refused("ENOTTY"):
            await guest.resize(execution, TerminalSize(rows=1, columns=1))

    async def test_is_the_controlling_terminal(self, guest: ChannelGuest) -> None:
        spec = sh("tty >/dev/null && echo $TERM > /dev/tty", terminal=TerminalSize(rows=24, columns=80))
        result, stdout, stderr = await run(guest, spec)
        assert (result.exit_code, stdout, stderr) == (0, b"xterm-256color\r\n", b"")

    async def test_as_a_user(self, guest: ChannelGuest) -> None:
        spec = sh("id -u > /dev/tty", user="nobody", terminal=TerminalSize(rows=24, columns=80))
        _, stdout, _ = await run(guest, spec)
        assert stdout == b"65534\r\n"

    async def test_interrupt_and_end_of_file(self, guest: ChannelGuest) -> None:
        size = TerminalSize(rows=24, columns=80)
        async with guest.launch(unique(), sh("echo ready; exec sleep 1000", terminal=size)) as attachment:
            await output_until(attachment, b"ready")
            await attachment.write_stdin(b"\x03")
            assert (await attachment.result()).signal == 2
        async with guest.launch(unique(), ExecutionSpec(("cat",), terminal=size)) as attachment:
            await attachment.write_stdin(b"typed\n")
            await output_until(attachment, b"typed\r\ntyped\r\n")
            await attachment.close_stdin()
            assert (await attachment.result()).ok

    async def test_pipes_are_no_terminal(self, guest: ChannelGuest) -> None:
        execution = unique()
        await guest.start(execution, sh("sleep 100"))
        with refused("ENOTTY"):
            await guest.resize(execution, TerminalSize(rows=24, columns=80))
        await guest.kill(execution)
