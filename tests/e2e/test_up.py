"""`aetherium up`, and commands without it."""

from __future__ import annotations

import asyncio
import json
import signal

from tests.e2e.conftest import CLI, DEADLINE_S


async def test_vms_outlive_commands_without_a_daemon(cli: CLI) -> None:
    vm = await cli.json("vm", "create", "--name", "box")
    assert [item["id"] for item in await cli.json("vm", "list")] == [vm["id"]]
    done = await cli("vm", "exec", "-i", "box", "--", "cat", stdin=b"hello")
    assert (done.exit_code, done.stdout) == (0, b"hello")
    async with cli.daemon():
        assert [item["id"] for item in await cli.json("vm", "list")] == [vm["id"]]
        assert (await cli("vm", "exec", "box", "true")).exit_code == 0
    assert (await cli("vm", "rm", "--all")).exit_code == 0
    assert await cli.json("vm", "list") == []
    assert sorted(path.name for path in (cli.data_dir / "run").iterdir()) == ["aetherium.lock"]


async def test_only_one_daemon_and_the_next_replaces_a_killed_one(cli: CLI) -> None:
    assert (await cli("up", "--check")).exit_code == 1
    async with cli.start("up") as first:
        assert first.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            await first.stdout.readline()
        second = await cli("up", "--json")
        assert second.exit_code == 1
        assert json.loads(second.stdout)["error"]["code"] == "conflict"
        assert str(first.pid) in second.stdout.decode()
        assert (await cli.json("up", "--check"))["pid"] == first.pid
        first.kill()
        await first.wait()
    assert (cli.data_dir / "run" / "aetherium.sock").exists()
    assert await cli.json("vm", "list") == []
    async with cli.daemon() as third:
        assert (await cli.json("up", "--check", "--wait", "5"))["pid"] == third.pid


async def test_signals_end_it_cleanly_in_the_middle_of_streams(cli: CLI) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        async with cli.start("up") as child, asyncio.timeout(DEADLINE_S):
            assert child.stdout is not None
            await child.stdout.readline()
            await cli("vm", "create", "--name", "box")
            async with cli.start("vm", "exec", "box", "--", "sh", "-c", "echo on; sleep 60") as running:
                assert running.stdout is not None
                assert await running.stdout.readline() == b"on\n"
                child.send_signal(number)
                assert await child.wait() == 0
                assert await running.wait() == 125
            await cli("vm", "rm", "--all")


async def test_ctrl_c_reaches_the_command_in_the_vm(cli: CLI) -> None:
    async with cli.daemon():
        await cli("vm", "create", "--name", "box")
        script = "trap 'echo caught; exit 9' INT; echo on; while :; do sleep 0.05; done"
        async with cli.start("vm", "exec", "box", "--", "sh", "-c", script) as running:
            assert running.stdout is not None
            assert await running.stdout.readline() == b"on\n"
            running.send_signal(signal.SIGINT)
            assert await running.stdout.read() == b"caught\n"
            assert await running.wait() == 9
        async with cli.start("vm", "exec", "box", "--", "yes") as running:
            assert running.stdout is not None
            await running.stdout.readline()
            running.stdout._transport.close()  # type: ignore[attr-defined] # as `| head -1` does
            assert await running.wait() == 141
        await cli("vm", "rm", "--all")


async def test_bad_settings_are_explained(cli: CLI) -> None:
    done = await cli("vm", "list", AETHERIUM_IMAEG="x")
    assert done.exit_code == 2
    assert b"image" in done.stderr
    done = await cli("--data-dir", "/proc/nowhere", "vm", "list", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["error"]["code"] == "unavailable"
