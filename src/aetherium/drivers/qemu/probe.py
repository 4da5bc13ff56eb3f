"""What this host can do, found out once for each boot of it and kept in a file."""

from __future__ import annotations

import json
import os
import platform
import secrets
from collections.abc import Mapping
from pathlib import Path

from aetherium import process
from aetherium.domain.errors import DeadlineExceeded, ToolMissing
from aetherium.domain.vms import Capability
from aetherium.drivers.qemu import memory, payload
from aetherium.drivers.qemu.command import PROGRAM, Machine
from aetherium.drivers.qemu.tsc import tsc_khz
from aetherium.interfaces.drivers import DriverProbe

_TOOLS = (PROGRAM, "qemu-img", "mkfs.ext4")
_KVM = Path("/dev/kvm")
_KVM_DEADLINE_S = 3.0
_BASIC = frozenset({Capability.EXEC, Capability.FILES, Capability.PTY, Capability.PAUSE})


async def probe(cache: Path, accel: str) -> tuple[DriverProbe, Machine | None]:
    """Whether QEMU works here, and how it is to be run.

    Args:
        cache: a directory for what was found out; made if need be.
        accel: ``auto``, ``kvm`` or ``tcg``: what the user has settled on.
    """
    if platform.machine() != "x86_64":
        return _unavailable(
            f"The machine type microvm needs an x86-64 host; this is {platform.machine()}."
        ), None
    try:
        tools = [process.find_tool(tool) for tool in _TOOLS]
    except ToolMissing as error:
        return _unavailable(error.message, error.hint), None
    facts = await _facts(cache, Path(tools[0]))
    why_not = str(facts["kvm"])
    if accel == "kvm" and why_not:
        hint = "Set the accelerator to 'auto' or 'tcg'."
        return _unavailable(f"KVM was asked for, but {why_not}.", hint), None
    used = "tcg" if why_not or accel == "tcg" else "kvm"
    capabilities = set(_BASIC)
    if memory.readable():
        capabilities |= {Capability.SNAPSHOT, Capability.FORK}
    if used == "kvm":
        capabilities.add(Capability.HARDWARE_ISOLATION)
    found = DriverProbe(
        available=True,
        capabilities=frozenset(capabilities),
        reason="KVM" if used == "kvm" else f"TCG ({why_not or 'as set'})",
        hint="" if memory.readable() else "For snapshots: sysctl kernel.yama.ptrace_scope=0",
        facts={"accel": used, **facts},
        machine=f"QEMU {facts['qemu']}, {used}, {_cpu_model()}",
    )
    return found, Machine(used, int(str(facts["tsc_khz"])))


def _unavailable(reason: str, hint: str = "") -> DriverProbe:
    return DriverProbe(available=False, capabilities=frozenset(), reason=reason, hint=hint)


async def _facts(cache: Path, program: Path) -> Mapping[str, object]:
    """From the file, if this host, its QEMU and our rights are still the same."""
    file = cache / "host.json"
    key = _key(program)
    known = _recall(file, key)
    if known is not None:
        return known
    version = (await process.run([PROGRAM, "--version"])).stdout.decode().partition("(")[0]
    facts = {
        "qemu": version.removeprefix("QEMU emulator version").strip(),
        "kvm": await _why_no_kvm(cache),
        "tsc_khz": await tsc_khz(),
    }
    _remember(file, key, facts)
    return facts


def _key(program: Path) -> list[object]:
    stat = program.stat()
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return [boot_id, str(program), stat.st_size, stat.st_mtime_ns, os.geteuid(), _kvm_opens()]


def _recall(file: Path, key: list[object]) -> Mapping[str, object] | None:
    try:
        known = json.loads(file.read_bytes())
        if known["key"] == key:
            facts: Mapping[str, object] = known["facts"]
            return facts
    except FileNotFoundError:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (ValueError, KeyError):
        return None  # written by another version
    return None


def _remember(file: Path, key: list[object], facts: Mapping[str, object]) -> None:
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    part.write_text(json.dumps({"key": key, "facts": facts}))
    part.replace(file)


def _cpu_model() -> str:
    """As the kernel calls it. The guest has this processor, or, under TCG, at least its clock."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return "unknown processor"


def _kvm_opens() -> bool:
    return os.access(_KVM, os.R_OK | os.W_OK)


async def _why_no_kvm(cache: Path) -> str:
    """Run a small guest; an empty string if it ran."""
    if not _kvm_opens():
        return "this user may not open /dev/kvm, or there is none (the group kvm has the right)"
    guest = _write_guest(cache)
    argv = [
        *(PROGRAM, "-M", "microvm", "-accel", "kvm", "-cpu", "host", "-m", "16", "-kernel", str(guest)),
        *("-nodefaults", "-no-user-config", "-nographic", "-no-reboot"),
        *("-device", f"isa-debug-exit,iobase={payload.EXIT_PORT},iosize=1"),
    ]
    try:
        result = await process.run(argv, timeout_s=_KVM_DEADLINE_S, check=False)
    except DeadlineExceeded:
        return "KVM cannot run a guest here"
    finally:
        _remove(guest)
    return "" if result.exit_code == payload.SUCCESS else "KVM cannot start a guest here"


def _write_guest(cache: Path) -> Path:
    guest = cache / f".probe-{secrets.token_hex(4)}"
    guest.write_bytes(payload.elf())
    return guest


def _remove(guest: Path) -> None:
    guest.unlink(missing_ok=True)
