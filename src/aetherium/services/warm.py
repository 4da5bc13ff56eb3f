"""Warm snapshots: of a VM that has just booted, kept on disk, from which further VMs are forked.

``<data_dir>/warm/KEY/`` holds a driver's snapshot and ``warm.json``; it is there as a whole or not at all.
KEY is a digest over everything that the snapshot depends on. ``KEY.lock`` is locked by who makes or removes
it, and shared by who restores from it. ``KEY.OWNER.tmp`` is one in the making.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from aetherium import __version__
from aetherium.domain.errors import AetheriumError
from aetherium.domain.projects import NO_PROJECT
from aetherium.domain.vms import Capability, VMSpec
from aetherium.interfaces.drivers import DriverProbe, Launch, SnapshotData, VMDriver, VMHandle
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.pool import SEED_LABEL
from aetherium.services.connections import handle_of
from aetherium.services.host import Host
from aetherium.services.launching import Launcher, Start, cold

log = logging.getLogger(__name__)

_MANIFEST = "warm.json"
_SNAPSHOT = "snapshot"
_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class WarmSnapshot:
    """One that is on disk."""

    key: str
    image_digest: str
    directory: Path
    data: SnapshotData

    def start(self) -> Start:
        """How a VM is started from it."""

        async def restore(driver: VMDriver, launch: Launch) -> VMHandle:
            return await driver.restore(launch, self.data, self.directory / _SNAPSHOT)

        return restore


class WarmSnapshots:
    """The warm snapshots of this host, used and made by all its processes.

    Args:
        root: ``<data_dir>/warm``.
    """

    def __init__(self, host: Host, launcher: Launcher, root: Path) -> None:
        self._host = host
        self._launcher = launcher
        self._root = root

    def enabled(self, probe: DriverProbe) -> bool:
        """Whether they are wanted and the driver can make them."""
        return (
            self._host.settings.warm_snapshots > 0
            and {
                Capability.SNAPSHOT,
                Capability.FORK,
            }
            <= probe.capabilities
        )

    @asynccontextmanager
    async def use(
        self, spec: VMSpec, driver: VMDriver, probe: DriverProbe, digest: str, progress: Callable[[str], None]
    ) -> AsyncIterator[WarmSnapshot]:
        """The snapshot for such a VM, made if it is missing; it stays for the time of the block.

        Raises what booting and snapshotting raise.
        """
        key = warm_key(spec, driver.name, probe, digest)
        async with self._locked(key, shared=True):
            found = await asyncio.to_thread(self._read, key)
            if found is not None:
                yield found
                return
        await self._make(key, spec, driver, digest, progress)
        async with self._locked(key, shared=True):
            found = await asyncio.to_thread(self._read, key)
            if found is None:
                raise AetheriumError(f"The warm snapshot {key} was removed as soon as it was made.")
            yield found

    async def forget(self, key: str) -> None:
        """Remove one, for example because it cannot be restored."""
        async with self._locked(key, shared=False):
            await asyncio.to_thread(self._remove, key)

    async def forget_image(self, digest: str) -> None:
        """Remove those of an image."""
        for warm in await asyncio.to_thread(self._all):
            if warm.image_digest == digest:
                await self.forget(warm.key)

    async def sweep(self, images: Collection[str], living: Callable[[str], bool]) -> None:
        """Remove those of images that are gone, and what makers that died have left."""
        for path in await asyncio.to_thread(lambda: tuple(self._root.glob("*.tmp"))):
            if not living(path.name.split(".")[1]):
                await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        for warm in await asyncio.to_thread(self._all):
            if warm.image_digest not in images:
                await self.forget(warm.key)
        for path in await asyncio.to_thread(lambda: tuple(self._root.glob("*.lock"))):
            if not path.with_suffix("").exists():
                self._unlock(path.stem)

    def _unlock(self, key: str) -> None:
        """Remove the lock of a snapshot that is not there, if nobody is about to make it."""
        fd = self._try_lock(key, shared=False)
        if fd is not None:
            if not (self._root / key).exists():
                (self._root / f"{key}.lock").unlink(missing_ok=True)
            os.close(fd)

    async def _make(
        self, key: str, spec: VMSpec, driver: VMDriver, digest: str, progress: Callable[[str], None]
    ) -> None:
        async with self._locked(key, shared=False):
            if await asyncio.to_thread(self._read, key) is not None:
                return  # another process was faster
            progress("Booting for the first time")
            plain = VMSpec(image=digest, driver=driver.name, resources=spec.resources, network=spec.network)
            draft = self._launcher.draft(
                plain, driver.name, digest, project=NO_PROJECT, labels={SEED_LABEL: key}
            )
            seed = await self._launcher.launch(draft, cold, heir=self._host.owner)
            temporary = self._root / f"{key}.{self._host.owner}.tmp"
            try:
                async with self._host.connections.session(seed) as guest:
                    await self._launcher.settle(guest)
                await self._host.connections.pause(seed.id)
                progress("Keeping a warm snapshot")
                await asyncio.to_thread(temporary.mkdir, mode=0o700)
                data = await driver.snapshot(handle_of(seed), temporary / _SNAPSHOT)
                await asyncio.to_thread(shutil.rmtree, self._root / key, ignore_errors=True)  # a damaged one
                await asyncio.to_thread(_seal, temporary, self._root / key, digest, data)
            finally:
                await finish(self._clear(seed.id, temporary))
        await self._prune(key)

    async def _clear(self, seed: str, temporary: Path) -> None:
        await self._launcher.discard(seed)
        await asyncio.to_thread(shutil.rmtree, temporary, ignore_errors=True)

    async def _prune(self, keep: str) -> None:
        """Hold the limits: the ones used longest ago go first, those in use stay."""
        settings = self._host.settings
        found = [warm for warm in await asyncio.to_thread(self._all) if warm.key != keep]
        count, total = settings.warm_snapshots - 1, settings.warm_mib << 20
        for warm in found:
            total -= warm.data.size_bytes
            count -= 1
            if count >= 0 and total >= 0:
                continue
            fd = self._try_lock(warm.key, shared=False)
            if fd is not None:
                try:
                    await asyncio.to_thread(self._remove, warm.key)
                finally:
                    os.close(fd)

    def _all(self) -> list[WarmSnapshot]:
        """Last used first."""
        try:
            names = [path for path in self._root.iterdir() if path.is_dir() and "." not in path.name]
        except FileNotFoundError:
            return []
        names.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        found = (self._read(path.name, used=False) for path in names)
        return [warm for warm in found if warm is not None]

    def _read(self, key: str, *, used: bool = True) -> WarmSnapshot | None:
        directory = self._root / key
        try:
            value: dict[str, Any] = json.loads((directory / _MANIFEST).read_bytes())
            data = SnapshotData(**value["data"])
            if used:
                os.utime(directory)
            return WarmSnapshot(key, value["image_digest"], directory, data)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            log.warning("The warm snapshot %s is damaged and is made anew: %s", key, error)
            return None

    def _remove(self, key: str) -> None:
        # Moved aside first: a half-removed snapshot must never be found.
        aside = self._root / f"{key}.{self._host.owner}.gone.tmp"
        with suppress(FileNotFoundError):
            (self._root / key).rename(aside)
        (self._root / f"{key}.lock").unlink(missing_ok=True)
        shutil.rmtree(aside, ignore_errors=True)

    @asynccontextmanager
    async def _locked(self, key: str, *, shared: bool) -> AsyncIterator[None]:
        while True:
            fd = self._try_lock(key, shared=shared)
            if fd is not None:
                break
            await asyncio.sleep(_PAUSE_S)
        try:
            yield
        finally:
            os.close(fd)

    def _try_lock(self, key: str, *, shared: bool) -> int | None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._root / f"{key}.lock"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        except (BlockingIOError, FileNotFoundError):
            pass  # held, or removed with its snapshot a moment ago: look again
        os.close(fd)
        return None


def warm_key(spec: VMSpec, driver: str, probe: DriverProbe, digest: str) -> str:
    """A digest over what a snapshot depends on: the image (its agent included), the size, the network
    devices, the driver, its version and accelerator, and this version of Aetherium."""
    facts = {
        "image": digest,
        "resources": asdict(spec.resources),
        "network": asdict(spec.network),
        "driver": driver,
        # Versions and names; what was measured differs a little each time, and the driver allows for it.
        "facts": {name: value for name, value in probe.facts.items() if isinstance(value, str)},
        "version": __version__,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _seal(temporary: Path, target: Path, digest: str, data: SnapshotData) -> None:
    value = {"image_digest": digest, "data": asdict(replace(data, data=dict(data.data)))}
    (temporary / _MANIFEST).write_text(json.dumps(value))
    temporary.rename(target)
