"""Secrets from the command line to commands in VMs, and where their values are never found."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from aetherium import process
from aetherium.services.masking import patterns
from tests.e2e.conftest import CLI
from tests.fixtures.waiting import eventually

VALUE = "plum-Tangle-7391-Window"
OWN = "brass-Kettle-2284-Meadow"
# In whatever form: as it is, base64, hexadecimal, escaped.
FORMS = patterns([VALUE, OWN])


async def set_value(cli: CLI, name: str = "TOKEN", *words: str, value: str = VALUE) -> None:
    """Over stdin."""
    done = await cli("secret", "set", name, *words, stdin=f"{value}\n".encode())
    assert done.exit_code == 0, done
    shows_nothing(done)


def shows_nothing(*done: process.Completed) -> None:
    """Neither stdout nor stderr has a value in it."""
    for each in done:
        assert not [form for form in FORMS if form in each.stdout + each.stderr], each


def processes_with_it() -> Iterator[tuple[str, str]]:
    """What of a process has it (cmdline, environ), and its command line."""
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            cmdline = (directory / "cmdline").read_bytes()
            parts = {"cmdline": cmdline, "environ": (directory / "environ").read_bytes()}
        except OSError:  # it has ended, or is somebody else's
            continue
        for part, data in parts.items():
            if any(form in data for form in FORMS):
                yield part, cmdline.decode(errors="replace")


def files_with_it(directory: Path) -> list[Path]:
    """Everything below the data directory: database, journals, logs, whatever VMs leave."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [path for path in files if any(form in path.read_bytes() for form in FORMS)]


@asynccontextmanager
async def loud_daemon(cli: CLI) -> AsyncIterator[bytearray]:
    """`aetherium up` that logs everything; what it has written."""
    (cli.data_dir / "aetherium.toml").write_text('log_level = "debug"\n')
    written = bytearray()

    async def drain(stream: asyncio.StreamReader) -> None:
        while data := await stream.read(1 << 16):
            written.extend(data)

    async with cli.daemon() as child, asyncio.TaskGroup() as group:
        assert child.stdout is not None
        assert child.stderr is not None
        draining = [group.create_task(drain(stream)) for stream in (child.stdout, child.stderr)]
        yield written
        for task in draining:
            task.cancel()


async def test_a_value_is_where_it_is_used_and_nowhere_else(cli: CLI, tmp_path: Path) -> None:
    fifo, script = cli.data_dir / "go", 'echo "${#TOKEN} $TOKEN"; read x < "$1"; echo "$TOKEN" >&2; exit 3'
    os.mkfifo(fifo)
    job = {
        "steps": [
            {"run": 'echo "$TOKEN"; echo "$OWN" >&2; echo "$TOKEN" > kept'},
            {"run": "cat kept; exit 4"},
        ],
        "secrets": ["TOKEN", "OWN"],
        "workdir": str(tmp_path / "work"),
        "patch": False,
    }
    file = cli.data_dir / "job.json"
    file.write_text(json.dumps(job))
    async with loud_daemon(cli) as written:
        await set_value(cli)
        vm = await cli.json("vm", "create", "--name", "box")
        words = ("vm", "exec", "--stored-secret", "TOKEN", "box", "--", "sh", "-c", script, "sh", str(fifo))
        running = asyncio.ensure_future(cli(*words))

        async def given() -> bool:
            return bool(list(processes_with_it()))

        await eventually(given, within_s=30.0)
        for part, cmdline in processes_with_it():
            assert part == "environ"
            assert cmdline.startswith("sh\0-c\0"), cmdline  # the command itself
        assert files_with_it(cli.data_dir) == []
        await asyncio.to_thread(fifo.write_text, "\n")
        done = await running
        stars = b"*" * len(VALUE)
        assert (done.exit_code, done.stdout) == (3, b"%d %s\n" % (len(VALUE), stars))
        lost = await cli("vm", "exec", "--stored-secret", "LOST", "box", "--", "true")
        assert (lost.exit_code, b"LOST" in lost.stderr) == (125, True)
        failed = await cli("vm", "exec", "--stored-secret", "TOKEN", "box", "--", "/no/such/program")
        ran = await cli("run", "-f", str(file), "--secret", "OWN", OWN=OWN)
        assert ran.exit_code == 4, ran
        assert ran.stdout.count(stars) == 2, ran
        payload = {
            "vm_id": vm["id"],
            "argv": ["sh", "-c", script, "sh", "/dev/null"],
            "secret_names": ["TOKEN"],
        }
        task = await cli("task", "submit", "vm.exec", "--payload", json.dumps(payload), "--wait", "--json")
        shown = [
            await cli(*each.split(), "--json") for each in ("secret list", "secret show TOKEN", "event list")
        ]
        shows_nothing(done, lost, failed, ran, task, *shown)
        assert list(processes_with_it()) == []
        await cli("vm", "rm", "--all")
    assert not any(form in written for form in FORMS)
    assert written != b""
    assert files_with_it(tmp_path) == [tmp_path / "work" / "kept"]  # so it would be found
    assert files_with_it(cli.data_dir) == []


async def test_the_life_of_a_secret(cli: CLI, tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_text("from a file\n")
    async with cli.daemon():
        await set_value(cli)
        await set_value(cli, "TOKEN", "--scope", "job", "--target", "nightly")
        made = await cli.json("secrets", "set", "TOKEN", "--from-file", str(file))
        assert (made["version"], made["updated_by"], "value" in made) == (2, "local", False)
        listed = await cli.json("secret", "list")
        assert [(item["name"], item["scope"], item["version"]) for item in listed] == [
            ("TOKEN", "job", 1),
            ("TOKEN", "project", 2),
        ]
        rotation = await cli.json("secrets", "rotate-key")
        assert (rotation["wrapped"], len(rotation["retired"])) == (2, 1)
        assert (await cli("secret", "rm", "TOKEN")).exit_code == 0
        gone = await cli("secret", "show", "TOKEN")
        assert (gone.exit_code, b"no secret 'TOKEN'" in gone.stderr) == (1, True)
        assert (await cli.json("secret", "show", "TOKEN", "--scope", "job", "--target", "nightly"))[
            "version"
        ] == 1


async def test_what_cannot_be_set(cli: CLI, tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for words, stdin, why in (
        (("token",), b"x", b"cannot have the name 'token'"),
        (("TOKEN",), b"", b"has 0 bytes"),
        (("TOKEN",), b"x" * 70_000, b"bytes"),
        (("TOKEN",), b"\xff\xfe", b"not UTF-8"),
        (("TOKEN", "--from-file", str(binary)), None, b"not UTF-8"),
        (("TOKEN", "--scope", "image"), b"x", b"goes with a target"),
        (("TOKEN", VALUE), b"x", b"unexpected extra argument"),
    ):
        done = await cli("secret", "set", *words, stdin=stdin)
        assert done.exit_code in (1, 2), (words, done)
        assert why in done.stderr, (words, done)
    assert await cli.json("secret", "list") == []
