"""`aetherium audit`: the log is listed, exported and verified, with a daemon and without."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.conftest import CLI, cli
from tests.integration.storage.live import on, statement

__all__ = ["cli"]


async def test_commands_without_a_daemon_make_one_chain(cli: CLI) -> None:
    for name in ("a", "b", "c"):
        assert (await cli("project", "create", name)).exit_code == 0
    found = await cli.json("audit", "list", "--action", "project.*", "--since", "1h")
    assert [entry["event"]["outcome"] for entry in found] == ["ok", "begun"] * 3
    done = await cli("audit", "verify")
    assert done.exit_code == 0, done
    assert b"are as they were written" in done.stdout


async def test_what_was_changed_is_a_table_and_an_exit_code(cli: CLI, tmp_path: Path) -> None:
    export, kept = tmp_path / "audit.ndjson", tmp_path / "kept.json"
    async with cli.daemon():
        await cli.json("project", "create", "a")
        kept.write_bytes((await cli("audit", "verify", "--json")).stdout)
        assert (await cli("audit", "export", "-o", str(export))).exit_code == 0
        key = (await cli("audit", "key")).stdout.decode().strip()
        assert (await cli("audit", "verify", "--checkpoint", str(kept))).exit_code == 0
    assert export.stat().st_mode & 0o777 == 0o600
    database = cli.data_dir / "aetherium.db"
    await on(database, statement("DROP TRIGGER audit_refuse_delete"))
    await on(database, statement("DELETE FROM audit WHERE seq = 2"))
    done = await cli("audit", "verify", "--checkpoint", str(kept))
    assert done.exit_code == 1
    assert done.stdout.split()[:3] == [b"SEQ", b"WHAT", b"FINDING"]
    assert b"removed" in done.stdout

    offline = ("audit", "verify", "--file", str(export))
    assert (await cli(*offline, "--key", key, "--checkpoint", str(kept))).exit_code == 0
    assert b"names itself" in (await cli(*offline)).stderr
    lines = export.read_text().splitlines()
    export.write_text("\n".join([lines[0], lines[1].replace("local", "other"), *lines[2:]]))
    done = await cli(*offline, "--key", key, "--json")
    assert done.exit_code == 1
    assert [found["kind"] for found in json.loads(done.stdout)["findings"]] == ["changed"]


async def test_wrong_usage_says_what_to_do(cli: CLI, tmp_path: Path) -> None:
    for words, message in (
        (("--key", "x"), b"--key is for an export"),
        (("--file", str(tmp_path / "none")), b"cannot be read"),
        (("--checkpoint", str(tmp_path)), b"cannot be read"),
    ):
        done = await cli("audit", "verify", *words)
        assert done.exit_code == 2, done
        assert message in done.stderr
