"""The command line and a gateway that is reached over a port; keys and members."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess as sp  # noqa: TID251 # constants only; processes are started by aetherium.process
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aetherium import process
from tests.e2e.conftest import CLI, DEADLINE_S, fresh_cli
from tests.fixtures.ports import HOST


@dataclass(frozen=True, slots=True)
class Remote:
    """`aetherium up` at a port, its key, and a command line with nothing but these."""

    up: CLI
    url: str
    key: str = field(repr=False)
    elsewhere: CLI

    async def __call__(self, *words: str, key: str | None = None, **env: str) -> process.Completed:
        given = {"AETHERIUM_URL": self.url, "AETHERIUM_API_KEY": self.key if key is None else key, **env}
        return await self.elsewhere(*words, stdin=None, **given)


@asynccontextmanager
async def listening(cli: CLI, *words: str) -> AsyncIterator[dict[str, str]]:
    """`aetherium up`; what it says of itself."""
    command = cli.argv("up", "--json", *words)
    async with process.spawned(command, env=cli.env(), stdin=sp.DEVNULL, stdout=sp.PIPE) as child:
        assert child.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            yield json.loads(await child.stdout.readline())
        child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_S):
            assert await child.wait() == 0


@pytest.fixture(scope="module")
async def remote() -> AsyncIterator[Remote]:
    elsewhere = CLI(Path(tempfile.mkdtemp(prefix="aeth-")) / "none")
    async with fresh_cli() as cli, listening(cli, "--listen", f"{HOST}:0") as facts:
        yield Remote(cli, facts["url"], facts["first_key"], elsewhere)


async def test_commands_use_the_gateway_at_the_url_and_nothing_of_this_machine(remote: Remote) -> None:
    made = await remote("vm", "create", "--name", "box", "--json")
    assert made.exit_code == 0, made
    done = await remote("vm", "exec", "-i", "box", "--", "cat", AETHERIUM_PROJECT="default")
    assert done.exit_code == 0
    assert (await remote("vm", "exec", "box", "--", "sh", "-c", "exit 3")).exit_code == 3
    assert [vm["spec"]["name"] for vm in json.loads((await remote("vm", "list", "--json")).stdout)] == ["box"]
    assert [vm["spec"]["name"] for vm in await remote.up.json("vm", "list")] == ["box"]
    assert (await remote("vm", "rm", "box")).exit_code == 0
    version = json.loads((await remote("version", "--json")).stdout)
    assert (version["url"], version["daemon"]) == (remote.url, version["version"])
    assert not remote.elsewhere.data_dir.exists()


async def test_who_one_is(remote: Remote) -> None:
    me = json.loads((await remote("whoami", "--json")).stdout)
    assert (me["installation"], me["project"]) == (True, None)
    inside = json.loads((await remote("--project", "default", "whoami", "--json")).stdout)
    assert inside["project"] == "default"
    local = await remote.up("whoami")
    assert b"local" in local.stdout


async def test_a_key_lives_from_creation_to_revocation(remote: Remote, tmp_path: Path) -> None:
    made = await remote("api-key", "create", "ci", "--scope", "vms:read", "--expires", "1h")
    key = made.stdout.decode().strip()
    assert key.startswith("aek_")
    assert b"not shown again" in made.stderr
    (tmp_path / "key").write_text(f"{key}\n")
    by_file = await remote.elsewhere(
        "--url", remote.url, "vm", "list", AETHERIUM_API_KEY_FILE=str(tmp_path / "key")
    )
    assert by_file.exit_code == 0, by_file
    refused = await remote("vm", "create", "--json", key=key)
    assert (refused.exit_code, json.loads(refused.stdout)["error"]["code"]) == (1, "forbidden")
    shown = await remote("api-key", "show", key[:12])
    assert b"vms:read" in shown.stdout
    assert key.encode() not in shown.stdout
    assert b"active" in (await remote("api-key", "list")).stdout
    rotated = await remote("api-key", "rotate", "ci", "--grace", "0", "--json")
    assert json.loads(rotated.stdout)["key"]["scopes"] == ["vms:read"]
    assert (await remote("api-key", "revoke", "ci")).exit_code == 0
    gone = await remote("whoami", key=key)
    assert gone.exit_code == 1
    assert b"AETHERIUM_API_KEY_FILE" in gone.stderr


async def test_members_come_and_go(remote: Remote) -> None:
    subject = "oidc:https://id.example#ada"
    assert (await remote("member", "add", subject, "admin")).exit_code == 0
    assert subject.encode() in (await remote("member", "list")).stdout
    assert (await remote("member", "set", subject, "viewer")).exit_code == 0
    assert (await remote("member", "rm", subject, "--project", "default")).exit_code == 0
    unknown = await remote("member", "rm", subject)
    assert b"aetherium member list" in unknown.stderr


@pytest.mark.parametrize(("key", "says"), [("", b"wants an API key"), ("x", b"does not take the key")])
async def test_without_a_good_key_it_says_what_to_do(remote: Remote, key: str, says: bytes) -> None:
    done = await remote("vm", "list", key=key)
    assert done.exit_code == 1
    assert says in done.stderr
    assert b"aetherium api-key create" in done.stderr


async def test_where_nobody_listens_it_says_what_to_do(remote: Remote) -> None:
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    done = await remote("vm", "list", AETHERIUM_URL=f"http://{HOST}:{port}")
    assert done.exit_code == 1
    assert b"Start it there with" in done.stderr
    wrong = await remote("vm", "list", AETHERIUM_URL="nowhere")
    assert (wrong.exit_code, b"https://HOST" in wrong.stderr) == (2, True)


async def test_people_see_where_it_listens_and_the_first_key_once() -> None:
    async with fresh_cli() as cli:
        for keys in (1, 0):
            command = cli.argv("up", "--listen", f"{HOST}:0")
            async with process.spawned(command, env=cli.env(), stdin=sp.DEVNULL, stdout=sp.PIPE) as child:
                assert (await cli("up", "--check", "--wait", "30")).exit_code == 0
                child.send_signal(signal.SIGTERM)
                async with asyncio.timeout(DEADLINE_S):
                    out, _ = await child.communicate()
            assert b"and at http://127.0.0.1:" in out
            assert out.count(b"aek_") == keys


async def test_a_port_that_is_taken_ends_it_with_what_to_do() -> None:
    with socket.create_server((HOST, 0)) as taken:
        where = f"{HOST}:{taken.getsockname()[1]}"
        async with fresh_cli() as cli:
            done = await cli("up", "--listen", where)
    assert done.exit_code == 1
    assert where.encode() in done.stderr
    assert b"--listen" in done.stderr
