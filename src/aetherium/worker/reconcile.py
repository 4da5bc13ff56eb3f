"""Setting right what processes that were killed have left, on this host and in the store.

Rules:

1. A row whose owner has died: the VM is deleted; so is one that a task made, if the task has ended and is not
   answered with it: the attempt that made it was not recorded. A snapshot in the making or being deleted:
   removed. The attempts of a worker that was killed have failed: the task is tried again, or is dead
   (``worker_lost``).
2. A VM that is ``stopping`` while nobody works on it: its stop is finished.
3. A VM that is said to run or to be paused and whose process is gone: ``failed``, its executions ``lost``.
   One that has failed and runs all the same, since its worker was given up meanwhile: ended.
   One that is paused in fact and not in its row: whoever paused it, for a snapshot maybe, was killed, and it
   goes on. The other way: the row is corrected.
4. Anything on the host that no row knows: removed. Rows are always written first, and the host is looked at
   before the rows, so a VM that is being created is never taken for one of these. Only what was uploaded for
   a job comes before its row, and has its time.
5. Holds on images, temporary directories, locks and job directories that nobody needs: removed.

Never is anything touched whose owner lives, or on which somebody works (its lock is held).
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from aetherium.domain.errors import AetheriumError, InvalidTransition, NotFound
from aetherium.domain.ids import JOB, is_id
from aetherium.domain.ids import SNAPSHOT as SNAPSHOT_PREFIX
from aetherium.domain.ids import VM as VM_PREFIX
from aetherium.domain.jobs import JOB_LIFECYCLE
from aetherium.domain.tasks import ENDED
from aetherium.domain.vms import VM, VMState
from aetherium.interfaces.drivers import Condition, VMDriver
from aetherium.interfaces.pool import JOB_LABEL, TASK_LABEL
from aetherium.services.connections import handle_of
from aetherium.services.host import LIVE, Host, record_end, remove_vm
from aetherium.services.job_files import being_submitted
from aetherium.services.power import Power
from aetherium.services.snapshots import SnapshotService
from aetherium.services.warm import WarmSnapshots
from aetherium.worker.owners import Owners

log = logging.getLogger(__name__)


class Reconciler:
    """See the module's docstring; everything here is safe to be done by several processes at once."""

    def __init__(
        self, host: Host, owners: Owners, power: Power, snapshots: SnapshotService, warm: WarmSnapshots
    ) -> None:
        self._host = host
        self._owners = owners
        self._power = power
        self._snapshots = snapshots
        self._warm = warm

    async def run(self) -> None:
        """Again and again, until cancelled."""
        while True:
            await self._host.clock.sleep(self._host.settings.reconcile_interval_s)
            await self.reconcile()

    async def reconcile(self) -> None:
        """Once. What cannot be set right now is logged and left to the next time."""
        for step in (self._vms, self._strangers, self._workers, self._snapshots_left, self._leftovers):
            try:
                await step()
            except AetheriumError as error:
                log.warning("Reconciliation is not complete: %s", error)

    async def _vms(self) -> None:
        rows = await self._host.store.vms.list()
        outcomes = await asyncio.gather(*(self._vm(row) for row in rows), return_exceptions=True)
        for row, outcome in zip(rows, outcomes, strict=True):
            if isinstance(outcome, AetheriumError) and not isinstance(outcome, NotFound | InvalidTransition):
                log.warning("%s cannot be set right now: %s", row.id, outcome)
            elif isinstance(outcome, BaseException) and not isinstance(outcome, AetheriumError):
                raise outcome

    async def _vm(self, vm: VM) -> None:
        if vm.owner is not None:
            if not self._owners.living(vm.owner):
                log.info("%s belonged to a process that has died: it is deleted.", vm.id)
                await remove_vm(self._host, vm.id)
            elif self._own_failure(vm) or await self._half_made(vm) or await self._outlived(vm):
                await remove_vm(self._host, vm.id)
            return
        expired = vm.expires_at is not None and self._host.clock.now().timestamp() >= vm.expires_at
        if expired or await self._unrecorded(vm):
            await remove_vm(self._host, vm.id)
        elif vm.state is VMState.STOPPING and self._host.locks.free(vm.id):
            await self._finish_stop(vm.id)
        elif vm.state in LIVE and vm.handle is not None:
            await self._compare(vm)
        elif vm.state is VMState.FAILED and vm.handle is not None:
            await self._end(vm)

    async def _end(self, vm: VM) -> None:
        """A VM that was given up while its worker was away may run here all the same."""
        driver = self._host.drivers.get(vm.driver)
        seen = await driver.inspect(handle_of(vm))
        if seen.condition in (Condition.RUNNING, Condition.PAUSED, Condition.HUNG):
            log.info("%s has failed and runs: it is ended.", vm.id)
            await driver.stop(handle_of(vm))

    async def _outlived(self, vm: VM) -> bool:
        """Whether it is the VM of a job of this process that has ended, or has another one by now: it could
        not be removed when it should, for the database was away."""
        job_id = vm.spec.labels.get(JOB_LABEL)
        if job_id is None or vm.owner != self._host.owner or not self._host.locks.free(vm.id):
            return False
        try:
            job = await self._host.store.jobs.get(job_id)
        except NotFound:
            return True
        if JOB_LIFECYCLE.is_final(job.state) or job.owner != self._host.owner:
            return True
        return job.vm_id is not None and job.vm_id != vm.id

    async def _unrecorded(self, vm: VM) -> bool:
        """Whether a task made it, was tried again somewhere else, and has ended with another VM or none. As
        long as the task goes on, its next attempt may be here and find this VM."""
        if TASK_LABEL not in vm.spec.labels:
            return False
        try:
            task = await self._host.store.tasks.get(vm.spec.labels[TASK_LABEL])
        except NotFound:
            return False  # it was answered with it so long ago that it is forgotten
        return task.state in ENDED and (task.result is None or task.result.get("vm_id") != vm.id)

    def _own_failure(self, vm: VM) -> bool:
        """Whether this process began to delete it and failed."""
        ours = vm.owner == self._host.owner and vm.state is VMState.STOPPING
        return ours and self._host.locks.free(vm.id)

    async def _half_made(self, vm: VM) -> bool:
        """Whether this process began to make it, and failed while the database was away."""
        ours = vm.owner == self._host.owner and vm.state is VMState.CREATING
        if not ours or vm.id in self._host.making:
            return False
        # It may have been finished since the row was read; nobody makes it now, so the row stays as it is.
        return (await self._host.store.vms.get(vm.id)).state is VMState.CREATING

    async def _finish_stop(self, vm_id: str) -> None:
        async with self._host.locks.hold(vm_id):
            vm = await self._host.store.vms.get(vm_id)
            if vm.state is VMState.STOPPING and vm.owner is None:
                await self._power.end(vm, 0.0)

    async def _compare(self, vm: VM) -> None:
        seen = await self._host.drivers.get(vm.driver).recover(handle_of(vm))
        if seen.condition in (Condition.GONE, Condition.PANICKED):
            await record_end(self._host.store, self._host.drivers, self._host.clock, vm.id, seen)
            return
        if seen.condition is Condition.PAUSED and vm.state is VMState.RUNNING:
            await self._power.go_on(vm.id)
        elif seen.condition is Condition.RUNNING and vm.state is VMState.PAUSED:
            await self._correct(vm.id)

    async def _correct(self, vm_id: str) -> None:
        """The row of a VM that was resumed by a process that was killed before it could write so."""
        if not self._host.locks.free(vm_id):
            return
        async with self._host.locks.hold(vm_id):
            vm = await self._host.store.vms.get(vm_id)
            now = await self._host.drivers.get(vm.driver).inspect(handle_of(vm))
            if now.condition is Condition.RUNNING:
                await self._host.store.vms.transition(
                    vm_id, VMState.RUNNING, only_from={VMState.PAUSED}, reason=""
                )

    async def _strangers(self) -> None:
        owned = [(driver, await driver.owned()) for driver in self._host.drivers.all()]
        if not any(found for _, found in owned):
            return
        known = {vm.id for vm in await self._host.store.vms.list()}
        for driver, found in owned:
            for vm_id in found:
                if vm_id not in known:
                    await self._remove_stranger(driver, vm_id)

    async def _remove_stranger(self, driver: VMDriver, vm_id: str) -> None:
        log.info("%s is on this host and in no row: it is removed.", vm_id)
        await driver.delete(vm_id)

    async def _workers(self) -> None:
        """Commands that were their own platform and were killed, and workers that are lost otherwise."""
        for worker in await self._host.store.workers.list(private=True):
            if worker.info.private and not self._owners.living(worker.info.name):
                log.info("The command %s was killed: its tasks have failed.", worker.info.name)
                await self._host.store.workers.stop(worker.id, worker.incarnation)
        await self._host.store.workers.lose()

    async def _snapshots_left(self) -> None:
        rows = await self._host.store.snapshots.list()
        for row in rows:
            if row.owner is not None and not self._owners.living(row.owner):
                await self._snapshots.remove(row)

    async def _leftovers(self) -> None:
        data = self._host.settings.data_dir
        images = [image.digest for image in await self._host.images.list()]
        holds = {digest: await self._host.images.holders(digest) for digest in images}
        names = await asyncio.to_thread(_names, data)
        if any(names.values()) or any(holds.values()):
            await self._sweep(data, names, holds)
        await self._warm.sweep(images, self._owners.living)
        await asyncio.to_thread(self._owners.sweep)

    async def _sweep(
        self, data: Path, names: Mapping[str, Sequence[str]], holds: Mapping[str, Sequence[str]]
    ) -> None:
        """`names` and `holds` were read before the rows are, for the same reason as in rule 4."""
        vms = {vm.id for vm in await self._host.store.vms.list()}
        snapshots = {each.id for each in await self._host.store.snapshots.list()}
        jobs = {job.id for job in await self._host.store.jobs.list()} if names["jobs"] else set()
        doomed = [data / "snapshots" / name for name in names["snapshots"] if _stem(name) not in snapshots]
        doomed += [data / "forks" / name for name in names["forks"] if not self._owners.living(_stem(name))]
        rowless = [data / "jobs" / name for name in names["jobs"] if is_id(name, JOB) and name not in jobs]
        doomed += [path for path in rowless if not await asyncio.to_thread(being_submitted, path)]
        for path in doomed:
            log.info("%s belongs to nothing: it is removed.", path)
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        for name in names["locks"]:
            self._host.locks.free(name.removesuffix(".lock"))
        for digest, holders in holds.items():
            for holder in holders:
                if (is_id(holder, VM_PREFIX) or is_id(holder, SNAPSHOT_PREFIX)) and holder not in (
                    vms | snapshots
                ):
                    await self._host.images.release(digest, holder)


def _names(data: Path) -> dict[str, list[str]]:
    """What lies in the directories whose entries belong to somebody."""
    return {name: _listed(data / name) for name in ("snapshots", "forks", "jobs", "locks")}


def _listed(directory: Path) -> list[str]:
    try:
        return sorted(path.name for path in directory.iterdir())
    except FileNotFoundError:
        return []


def _stem(name: str) -> str:
    """Whose it is: the first part of the name, which in the making is ``.NAME.part``."""
    return name.strip(".").split(".")[0]
