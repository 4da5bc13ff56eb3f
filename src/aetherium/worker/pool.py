"""Warm pools: VMs that run before anybody asks for them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from aetherium.domain.errors import AetheriumError, NotFound
from aetherium.domain.projects import NO_PROJECT
from aetherium.domain.vms import VM, NetworkPolicy, Resources, VMSpec
from aetherium.interfaces.pool import POOL_LABEL, PoolLevel, VMPool
from aetherium.services.host import Host
from aetherium.services.launching import Launcher
from aetherium.services.vms import VMService
from aetherium.settings import PoolSettings

log = logging.getLogger(__name__)

# After this long without a miss a pool falls back towards its minimum by one.
QUIET_S = 60.0
# Pauses after a failure, in seconds: doubled each time, up to the second.
RETRY_S, LONGEST_RETRY_S = 1.0, 60.0
# Between two looks for an image that does not exist yet, in seconds.
IMAGE_S = 2.0
# After a VM was taken: its first command comes now, and the next fork would take its processors.
REFILL_S = 0.25
# Forks at once: they compete for the same processors with the VMs in use.
_AT_ONCE = 2


@dataclass
class _Pool:
    settings: PoolSettings
    label: str
    ready: deque[VM] = field(default_factory=deque)
    wanted: int = 0
    missed_at: datetime | None = None
    driver: str = ""
    image_digest: str = ""
    failures: int = 0
    complaint: str = ""

    def fits(self, resources: Resources, network: NetworkPolicy, driver: str, digest: str) -> bool:
        return (self.driver, self.image_digest) == (driver, digest) and (
            self.settings.resources,
            self.settings.policy,
        ) == (resources, network)


class WarmPools:
    """See interfaces/pool.py. One for each of `pools`; nothing is kept until `run`."""

    def __init__(self, host: Host, launcher: Launcher, pools: Sequence[PoolSettings]) -> None:
        self._host = host
        self._launcher = launcher
        self._pools = [
            _Pool(each, label=f"{each.image}-{index}".replace(":", "."), wanted=each.minimum)
            for index, each in enumerate(pools)
        ]
        self._wake = asyncio.Event()
        self._kept = False

    async def take(self, spec: VMSpec, *, driver: str, image_digest: str) -> VM | None:
        """See VMPool. Takes no time."""
        for pool in self._pools:
            if pool.settings.image == spec.image:
                self._wake.set()  # also if the tag means another image now
            if not pool.fits(spec.resources, spec.network, driver, image_digest):
                continue
            self._wake.set()
            if pool.ready:
                return pool.ready.popleft()
            pool.missed_at = self._host.clock.now()
            pool.wanted = min(pool.wanted + 1, pool.settings.maximum)
        return None

    def ready(self) -> int:
        """How many VMs wait, over all pools."""
        return sum(len(pool.ready) for pool in self._pools)

    def waiting(self) -> Mapping[str, int]:
        """How many VMs wait, by image digest."""
        found: dict[str, int] = {}
        for pool in self._pools:
            if pool.ready:
                found[pool.image_digest] = found.get(pool.image_digest, 0) + len(pool.ready)
        return found

    def level(self) -> PoolLevel:
        """How full they are, over all; nothing is wanted where none are kept."""
        wanted = sum(pool.wanted for pool in self._pools) if self._kept else 0
        return PoolLevel(self.ready(), wanted)

    async def run(self, vms: VMService) -> None:
        """Keep all pools filled until cancelled."""
        self._kept = True
        async with asyncio.TaskGroup() as group:
            for pool in self._pools:
                group.create_task(self._keep(pool, vms), name=f"pool {pool.label}")

    async def drain(self) -> None:
        """Remove all that wait. Nothing is filled any more."""
        for pool in self._pools:
            while pool.ready:
                await self._launcher.discard(pool.ready.popleft().id)

    async def _keep(self, pool: _Pool, vms: VMService) -> None:
        while True:
            self._wake.clear()
            try:
                await self._refresh(pool)
                await self._fill(pool, vms)
                pool.failures, pool.complaint = 0, ""
            except NotFound as error:  # the image has not been built yet
                self._complain(pool, logging.INFO, error)
                await self._host.clock.sleep(IMAGE_S)
            except AetheriumError as error:
                pause = min(RETRY_S * 2**pool.failures, LONGEST_RETRY_S)
                pool.failures = min(pool.failures + 1, 16)
                self._complain(pool, logging.WARNING, error)
                await self._host.clock.sleep(pause)
            else:
                await self._woken(QUIET_S / 4)
                await self._host.clock.sleep(REFILL_S)

    def _complain(self, pool: _Pool, level: int, error: AetheriumError) -> None:
        """Once for each cause, not each time that it is tried again."""
        if pool.complaint != str(error):
            pool.complaint = str(error)
            log.log(level, "The pool of %s waits: %s", pool.settings.image, error)

    async def _woken(self, seconds: float) -> None:
        """Wait until a VM was taken, or for `seconds`."""
        waiting = [
            asyncio.ensure_future(self._wake.wait()),
            asyncio.ensure_future(self._host.clock.sleep(seconds)),
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _refresh(self, pool: _Pool) -> None:
        """Look what the tag means now, drop VMs of another image and those that have ended, and let the size
        fall when nobody missed one for a while."""
        driver, _ = await self._host.drivers.choose(pool.settings.driver)
        digest = (await self._host.images.get(pool.settings.image)).digest
        if (driver.name, digest) != (pool.driver, pool.image_digest):
            stale, pool.ready = pool.ready, deque()
            pool.driver, pool.image_digest = driver.name, digest
            for vm in stale:
                await self._launcher.discard(vm.id)
        watched = self._host.connections.watched()
        for vm in [each for each in pool.ready if each.id not in watched]:
            pool.ready.remove(vm)  # it ended while it waited
            await self._launcher.discard(vm.id)
        now = self._host.clock.now()
        if pool.missed_at is not None and (now - pool.missed_at).total_seconds() >= QUIET_S:
            pool.missed_at = now
            pool.wanted = max(pool.settings.minimum, pool.wanted - 1)
        while len(pool.ready) > pool.wanted:
            await self._launcher.discard(pool.ready.pop().id)

    async def _fill(self, pool: _Pool, vms: VMService) -> None:
        while (missing := pool.wanted - len(pool.ready)) > 0:
            adding = (self._add(pool, vms) for _ in range(min(missing, _AT_ONCE)))
            for failure in await asyncio.gather(*adding, return_exceptions=True):
                if failure is not None:
                    raise failure

    async def _add(self, pool: _Pool, vms: VMService) -> None:
        spec = VMSpec(
            image=pool.image_digest,
            driver=pool.driver,
            resources=pool.settings.resources,
            network=pool.settings.policy,
            labels={POOL_LABEL: pool.label},
        )
        vm = await vms.create(spec, project=NO_PROJECT, owner=self._host.owner, pooled=False)
        try:
            async with self._host.connections.session(vm) as guest:
                await self._launcher.settle(guest)
        except BaseException:
            await self._launcher.discard(vm.id)
            raise
        pool.ready.append(vm)


_: type[VMPool] = WarmPools
