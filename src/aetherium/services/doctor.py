"""The host's check-up: what works, what does not, and what to do about it."""

from __future__ import annotations

import asyncio
import getpass
import os
import pwd
import shutil
from collections.abc import Sequence
from pathlib import Path

from aetherium.domain.checks import Check
from aetherium.domain.errors import AetheriumError, ToolMissing
from aetherium.interfaces.drivers import DriverProbe, VMDriver
from aetherium.interfaces.images import ImageStore
from aetherium.process import find_tool
from aetherium.services.drivers import Drivers
from aetherium.settings import Settings

# tool, Debian package, what for, whether nothing goes without it
_TOOLS = (
    ("qemu-system-x86_64", "qemu-system-x86", "runs VMs", True),
    ("qemu-img", "qemu-utils", "makes VMs' disks", True),
    ("mksquashfs", "squashfs-tools", "packs images", True),
    ("mmdebstrap", "mmdebstrap", "builds images from Debian packages", True),
    ("busybox", "busybox-static", "goes into the initramfs", True),
    ("git", "git", "fetches jobs' sources and makes patches", True),
    ("skopeo", "skopeo", "fetches OCI images", False),
    ("umoci", "umoci", "unpacks OCI images", False),
    ("newuidmap", "uidmap", "builds images without root", False),
)
_MIB = 1 << 20
_DISK_LOW = 2048 * _MIB  # a base image, its build and a few VMs
_MEMORY_LOW = 1024 * _MIB  # one VM of the default size beside the host's own needs


class Doctor:
    """Looks at the host; changes nothing."""

    def __init__(self, settings: Settings, drivers: Drivers, images: ImageStore) -> None:
        self._settings = settings
        self._drivers = drivers
        self._images = images

    async def examine(self) -> Sequence[Check]:
        """All checks, grouped. Never raises for what it finds."""
        probes = [(driver, await _probe(driver)) for driver in self._drivers.all()]
        local = await asyncio.to_thread(self._look)
        return [
            *(check for check in local if check.group == "host"),
            _kvm(probes),
            *(_driver(driver, probe, alone=len(probes) == 1) for driver, probe in probes),
            *(check for check in local if check.group != "host"),
            await self._base_image(),
        ]

    def _look(self) -> list[Check]:
        return [
            _memory(),
            _vsock(),
            _network(),
            _subordinate_ids(),
            *(_tool(*tool) for tool in _TOOLS),
            _directory("data directory", self._settings.data_dir),
            _directory("socket directory", self._settings.sockets),
            _disk(self._settings.data_dir),
        ]

    async def _base_image(self) -> Check:
        name = self._settings.image
        try:
            image = await self._images.get(name)
        except AetheriumError as error:
            return Check(
                f"image {name}",
                False,
                error.message,
                f"Make it: aetherium image build {name}",
                group="images",
            )
        return Check(
            f"image {name}", True, f"{image.digest[:19]}, {image.size_bytes // _MIB} MiB", group="images"
        )


async def _probe(driver: VMDriver) -> DriverProbe:
    try:
        return await driver.probe()
    except AetheriumError as error:
        return DriverProbe(False, frozenset(), error.message, error.hint)


def _driver(driver: VMDriver, probe: DriverProbe, *, alone: bool) -> Check:
    version = f"QEMU {probe.facts['qemu']}" if "qemu" in probe.facts else ""
    able = ", ".join(sorted(probe.capabilities))
    found = ", ".join(part for part in (version, probe.reason.removesuffix(".")) if part)
    detail = "; ".join(part for part in (found, f"can {able}" if able else "") if part)
    return Check(driver.name, probe.available, detail, probe.hint, required=alone, group="drivers")


def _kvm(probes: Sequence[tuple[VMDriver, DriverProbe]]) -> Check:
    """Whether a guest really ran under KVM: that /dev/kvm opens does not say so."""
    for _, probe in probes:
        if str(probe.facts.get("accel", "")) == "kvm":
            return Check("kvm", True, "A guest ran under it.", required=False, group="host")
    device = Path("/dev/kvm")
    if not device.exists():
        detail, hint = (
            "/dev/kvm is missing.",
            "Enable virtualisation in the firmware, or nested in the hypervisor.",
        )
    elif not os.access(device, os.R_OK | os.W_OK):
        detail = f"{getpass.getuser()} may not open /dev/kvm."
        hint = f"As root: usermod -aG kvm {getpass.getuser()}; then log in again."
    else:
        detail = "/dev/kvm opens, but a guest does not run with it."
        hint = "Under a hypervisor: enable nested virtualisation with hardware support there."
    return Check(
        "kvm", False, f"{detail} VMs are emulated (TCG): slower.", hint, required=False, group="host"
    )


def _vsock() -> Check:
    device = Path("/dev/vhost-vsock")
    if os.access(device, os.R_OK | os.W_OK):
        return Check("vsock", True, str(device), required=False, group="host")
    found = "may not be opened" if device.exists() else "is missing"
    return Check(
        "vsock",
        False,
        f"{device} {found}; agents are reached over virtio-serial instead.",
        "As root: modprobe vhost_vsock (and give your user access). Nothing is lost without it.",
        required=False,
        group="host",
    )


def _network() -> Check:
    """Rights for network namespaces and TAP devices: CAP_NET_ADMIN in the effective set."""
    cap_net_admin, cap_sys_admin = 12, 21
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    line = next((line for line in status.splitlines() if line.startswith("CapEff:")), "CapEff: 0")
    held = int(line.split()[1], 16)
    if held >> cap_net_admin & 1 and held >> cap_sys_admin & 1:
        return Check(
            "network", True, "CAP_NET_ADMIN: namespaces and TAP are possible.", required=False, group="host"
        )
    return Check(
        "network",
        False,
        "No CAP_NET_ADMIN: VMs get QEMU's user network or none.",
        "Run as root where network namespaces per VM are wanted.",
        required=False,
        group="host",
    )


def _subordinate_ids() -> Check:
    """An image build without root maps a range of user ids."""
    if os.geteuid() == 0:
        return Check("subordinate ids", True, "root needs none", required=False, group="host")
    user = pwd.getpwuid(os.geteuid()).pw_name
    missing = [name for name in ("/etc/subuid", "/etc/subgid") if not _has_range(Path(name), user)]
    if not missing:
        return Check("subordinate ids", True, f"{user} has a range", required=False, group="host")
    return Check(
        "subordinate ids",
        False,
        f"{user} has no range of at least 65536 in {' and '.join(missing)}.",
        f"As root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
        group="host",
    )


def _has_range(path: Path, user: str) -> bool:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    entries = [line.split(":") for line in lines]
    return any(
        len(entry) == 3
        and entry[0] in (user, str(os.geteuid()))
        and entry[2].isdecimal()
        and int(entry[2]) >= 65536
        for entry in entries
    )


def _memory() -> Check:
    facts = dict(
        line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    )
    available = int(facts.get("MemAvailable", "0").split()[0]) * 1024
    return Check(
        "memory",
        available >= _MEMORY_LOW,
        f"{available // _MIB} MiB available, {os.cpu_count()} processors",
        "" if available >= _MEMORY_LOW else "End other programs, or give VMs less memory.",
        required=False,
        group="host",
    )


def _tool(name: str, package: str, purpose: str, required: bool) -> Check:
    try:
        path = find_tool(name)
    except ToolMissing:
        return Check(
            name,
            False,
            f"is not installed ({purpose}).",
            f"Install it: apt-get install {package}",
            required=required,
            group="tools",
        )
    return Check(name, True, f"{path} ({purpose})", required=required, group="tools")


def _directory(name: str, path: Path) -> Check:
    def check(ok: bool, detail: str, hint: str = "") -> Check:
        return Check(name, ok, detail, hint, group="storage")

    existing = _existing(path)
    if existing != path:
        usable = os.access(existing, os.W_OK | os.X_OK)
        return check(
            usable,
            f"{path} is not there yet; {existing} is {'' if usable else 'not '}writable.",
            "" if usable else "Choose another with --data-dir.",
        )
    facts = path.stat()
    if not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
        return check(False, f"{path} is no directory that can be written.", "Choose another with --data-dir.")
    if facts.st_uid != os.geteuid():
        return check(False, f"{path} belongs to uid {facts.st_uid}.", "Use a directory of your own.")
    if facts.st_mode & 0o022:
        return check(
            False, f"{path} can be written by others (mode {facts.st_mode & 0o777:o}).", f"chmod 700 {path}"
        )
    return check(True, f"{path} (mode {facts.st_mode & 0o777:o})")


def _disk(path: Path) -> Check:
    free = shutil.disk_usage(_existing(path)).free
    return Check(
        "disk space",
        free >= _DISK_LOW,
        f"{free // _MIB} MiB free for {path}",
        ""
        if free >= _DISK_LOW
        else "Free some: aetherium image prune; aetherium job rm; or move --data-dir.",
        group="storage",
    )


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())
