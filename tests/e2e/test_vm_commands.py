"""VMs by the command line, through a daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import CLI


@pytest.fixture
async def box(served: CLI) -> str:
    """The id of a VM of the test's own."""
    return str((await served.json("vm", "create"))["id"])


async def test_list_get_and_errors(served: CLI) -> None:
    vm = await served.json("vm", "create", "--name", "named", "--label", "team=a", "--memory", "256M")
    assert vm["spec"]["resources"]["memory_mib"] == 256
    found = await served.json("vm", "list", "--label", "team=a")
    assert [item["id"] for item in found] == [vm["id"]]
    table = (await served("vm", "list")).stdout.decode()
    assert "named" in table
    assert "\x1b" not in table
    assert (await served.json("vm", "get", "named"))["id"] == vm["id"]
    missing = await served("vm", "get", "nothing", "--json")
    assert missing.exit_code == 1
    assert json.loads(missing.stdout)["error"]["code"] == "not_found"
    wrong = await served("vm", "create", "--memory", "lots")
    assert wrong.exit_code == 2
    assert b"'lots'" in wrong.stderr
    assert b"512M" in wrong.stderr
    gone = await served("vm", "rm", "named", "nothing")
    assert (gone.exit_code, gone.stdout.split()) == (1, [b"named"])


async def test_exec_mirrors_output_and_exit_code(served: CLI, box: str) -> None:
    done = await served("vm", "exec", box, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.exit_code, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    killed = await served("vm", "exec", box, "sh", "-c", "kill -9 $$")
    assert killed.exit_code == 137
    missing = await served("vm", "exec", box, "--", "no-such-program")
    assert missing.exit_code == 127
    assert b"no-such-program" in missing.stderr
    late = await served("vm", "exec", "--timeout", "300ms", box, "--", "sleep", "60")
    assert late.exit_code == 124
    nowhere = await served("vm", "exec", "nothing", "--", "true")
    assert nowhere.exit_code == 125
    whole = await served(
        "vm", "exec", "--json", "-e", "A=1", "-w", "/", box, "--", "sh", "-c", "echo $A; pwd"
    )
    assert json.loads(whole.stdout)["stdout"] == "1\n/\n"


async def test_stdin_and_secrets(served: CLI, box: str) -> None:
    data = bytes(range(256)) * 4096
    done = await served("vm", "exec", "-i", box, "--", "cat", stdin=data)
    assert done.stdout == data
    ignored = await served("vm", "exec", box, "--", "cat", stdin=b"not passed on")
    assert ignored.stdout == b""
    script = "echo ${#VALUE} $VALUE"
    secret = await served(
        "vm", "exec", "--secret", "VALUE", box, "--", "sh", "-c", script, VALUE="hunter2hunter2"
    )
    assert secret.stdout.startswith(b"14 ")
    assert b"hunter2" not in secret.stdout


async def test_copies_both_ways(served: CLI, box: str, tmp_path: Path) -> None:
    here, there, back = (tmp_path / name for name in ("here", "there", "back"))
    (here / "deep").mkdir(parents=True)
    (here / "deep" / "file").write_bytes(b"x" * 300_000)
    (here / "tool").write_bytes(b"#!")
    (here / "tool").chmod(0o755)
    there.mkdir()
    assert (await served("vm", "cp", str(here), f"{box}:{there}")).exit_code == 0
    assert (there / "here" / "deep" / "file").read_bytes() == b"x" * 300_000
    assert (await served("vm", "cp", f"{box}:{there / 'here'}", str(back))).exit_code == 0
    assert (back / "deep" / "file").read_bytes() == b"x" * 300_000
    assert (await served("vm", "cp", f"{box}:{here / 'tool'}", str(tmp_path / "tool"))).exit_code == 0
    assert (tmp_path / "tool").stat().st_mode & 0o777 == 0o755
    assert (await served("vm", "cp", "-", f"{box}:{there / 'piped'}", stdin=b"piped")).exit_code == 0
    assert (await served("vm", "cp", f"{box}:{there / 'piped'}", "-")).stdout == b"piped"
    for wrong in (("a", "b"), ("x:/a", "y:/b"), (str(tmp_path / "none"), f"{box}:/tmp/x")):
        assert (await served("vm", "cp", *wrong)).exit_code == 2
    missing = await served("vm", "cp", f"{box}:/nope", str(tmp_path / "nope"))
    assert missing.exit_code == 1
    assert not (tmp_path / "nope").exists()


async def test_the_rest_of_a_vms_life(served: CLI, box: str) -> None:
    assert (await served.json("vm", "pause", box))["state"] == "paused"
    assert (await served.json("vm", "resume", box))["state"] == "running"
    assert (await served.json("vm", "extend", box, "1h"))["spec"]["ttl_s"] >= 3600
    assert (await served.json("vm", "metrics", box))["guest"]["processes"] > 0
    assert "console" in await served.json("vm", "logs", box)
    assert (await served.json("doctor", "vm", box))["ok"]
    execution = json.loads((await served("vm", "exec", "-d", "--json", box, "sleep", "60")).stdout)
    assert execution["state"] in ("starting", "running")
    unsupported = await served("vm", "fork", box)
    assert unsupported.exit_code == 1
    assert b"fork" in unsupported.stderr
    assert (await served.json("vm", "stop", box, "--grace", "0"))["state"] == "stopped"
    assert (await served.json("vm", "rm", box))["removed"] == [box]


async def test_images_snapshots_doctor_version(served: CLI) -> None:
    (image,) = await served.json("image", "list")
    assert image["tags"] == ["base"]
    assert (await served.json("image", "tag", "base", "mine:1"))["digest"] == image["digest"]
    assert (await served.json("image", "remove", "mine:1"))["removed"] == ["mine:1"]
    assert (await served.json("image", "inspect", "base"))["digest"] == image["digest"]
    assert await served.json("snapshot", "list") == []
    assert (await served.json("version"))["daemon"]
    checks = (await served.json("doctor"))["checks"]
    assert {"kvm", "vsock", "network", "fake", "disk space", "image base"} <= {
        item["name"] for item in checks
    }
    people = (await served("doctor", NO_COLOR="1")).stdout.decode()
    assert "image base" in people
    assert "\x1b" not in people
