"""What is found out about the host."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aetherium.domain.vms import Capability
from aetherium.drivers.qemu import payload, probe
from aetherium.drivers.qemu.command import PROGRAM
from aetherium.drivers.qemu.tsc import tsc_khz
from aetherium.process import run


async def test_the_payload_ends_qemu_with_its_code(tmp_path: Path) -> None:
    """Under TCG it always runs; under KVM that is the question it is there to answer."""
    (tmp_path / "guest").write_bytes(payload.elf())
    argv = [PROGRAM, "-M", "microvm", "-accel", "tcg", "-m", "16", "-kernel", str(tmp_path / "guest")]
    argv += ["-nodefaults", "-nographic", "-no-reboot"]
    argv += ["-device", f"isa-debug-exit,iobase={payload.EXIT_PORT},iosize=1"]
    assert (await run(argv, timeout_s=30, check=False)).exit_code == payload.SUCCESS


async def test_the_counter_is_measured_the_same_twice() -> None:
    first, second = await tsc_khz(), await tsc_khz()
    assert 100_000 < first < 10_000_000
    assert abs(first - second) < first / 1000


async def test_probes_once_and_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, machine = await probe.probe(tmp_path / "cache", "auto")
    assert found.available
    assert machine is not None
    assert found.facts["accel"] == machine.accel
    assert (Capability.HARDWARE_ISOLATION in found.capabilities) == (machine.accel == "kvm")
    assert re.match(r"\d+\.\d+", str(found.facts["qemu"]))

    async def again(_: Path) -> str:
        raise AssertionError("probed a second time")

    monkeypatch.setattr(probe, "_why_no_kvm", again)
    assert await probe.probe(tmp_path / "cache", "auto") == (found, machine)
    (tmp_path / "cache" / "host.json").write_text("{broken")
    with pytest.raises(AssertionError):
        await probe.probe(tmp_path / "cache", "auto")


async def test_kvm_that_does_not_work_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: Path) -> str:
        return "KVM cannot run a guest here"

    monkeypatch.setattr(probe, "_why_no_kvm", broken)
    found, machine = await probe.probe(tmp_path, "kvm")
    assert not found.available
    assert machine is None
    assert "KVM cannot run a guest here" in found.reason
    assert found.hint


async def test_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_TOOLS", ("qemu-img", "no-such-program"))
    found, _ = await probe.probe(tmp_path, "auto")
    assert not found.available
    assert "no-such-program" in found.reason
    assert "apt-get install" in found.hint
