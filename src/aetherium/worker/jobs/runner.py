"""Carries out one job: source and VM at the same time, steps, then what comes back.

::

    source ─┐
            ├─► upload ─► steps ─► artifacts ─► tests ─► patch        at last, in any case: the VM is deleted
    vm ─────┘

What comes back is fetched after failed steps too, since it tells why they failed.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from aetherium.domain.errors import AetheriumError, GuestError, NotFound
from aetherium.domain.jobs import Job, JobState, PackedSource, PhaseTiming, StepOutcome, StepResult
from aetherium.domain.vms import VMSpec
from aetherium.interfaces.clock import Clock
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.images import ImageStore
from aetherium.interfaces.jobs import SOURCE, JobJournal, JobRunner, SaveJob
from aetherium.interfaces.objects import ObjectStore
from aetherium.interfaces.pool import JOB_LABEL
from aetherium.services.executions import ExecutionService
from aetherium.services.job_files import LocalJobFiles, prefix_of
from aetherium.services.secrets.uses import SecretUses
from aetherium.services.vms import VMService
from aetherium.settings import Settings
from aetherium.sources.delivery import Delivery
from aetherium.sources.opening import open_source
from aetherium.worker.jobs.patch import Patches
from aetherium.worker.jobs.results import Results
from aetherium.worker.jobs.secrets import JobSecrets, open_secrets
from aetherium.worker.jobs.sources.packed import open_packed
from aetherium.worker.jobs.steps import StepRunner

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VMJobRunner:
    """Carries out jobs in VMs of this host; see interfaces/jobs.py.

    Args:
        owner: this process: its VMs do not outlive it.
        private: directory of the guest in which the patch is prepared.
        uses: gives stored secrets to steps.
        objects: where packed sources are; None: this host is the only one.
    """

    vms: VMService
    executions: ExecutionService
    images: ImageStore
    settings: Settings
    clock: Clock
    owner: str
    private: str
    uses: SecretUses
    objects: ObjectStore | None = None

    async def run(self, job: Job, secrets: Mapping[str, str], journal: JobJournal, save: SaveJob) -> Job:
        """See JobRunner."""
        return await _Carrying(self, job, secrets, journal, save).carry_out()


class _Carrying:
    """One job being carried out. `job` is its row so far."""

    def __init__(
        self, host: VMJobRunner, job: Job, secrets: Mapping[str, str], journal: JobJournal, save: SaveJob
    ) -> None:
        self._host = host
        self._job = job
        self._secrets = JobSecrets(host.uses, job.id, secrets, {})
        self._journal = journal
        self._save = save
        # Named after this process: should it be killed, reconciliation finds that nobody needs it any more.
        self._scratch = host.settings.data_dir / "forks" / f"{host.owner}.{job.id}"

    async def carry_out(self) -> Job:
        """All of it."""
        limit = self._job.spec.timeout_s or self._host.settings.job_timeout_s
        try:
            try:
                async with asyncio.timeout(limit) as deadline:
                    await self._phases()
            except TimeoutError:
                if not deadline.expired():
                    raise
                self._end(JobState.TIMED_OUT, "deadline_exceeded", f"It took longer than {limit:g} seconds.")
            except AetheriumError as error:
                self._end(JobState.FAILED, error.code, str(error))
        finally:
            await finish(self._clean_up())
        return self._job

    async def _phases(self) -> None:
        self._secrets = await open_secrets(self._job, self._secrets.given, self._host.uses, self._host.images)
        self._journal.mask(self._secrets.values.values())
        delivery = await self._both()
        async with self._host.vms.guest(self._vm_id) as guest:
            patches = None
            if self._job.spec.patch:
                private = f"{self._host.private}/{self._job.id}"
                patches = Patches(guest, self._job.spec.workdir, private, self._job.commit)
            user = await self._user()
            async with self._phase("upload"):
                await guest.mkdir(self._job.spec.workdir, user=user)
                if delivery is not None:
                    await guest.archive_in(self._job.spec.workdir, delivery.pieces, user=user)
                if patches is not None:
                    self._warn(
                        *await patches.prepare(clean=delivery is not None and delivery.clean, user=user)
                    )
            failed = await self._steps()
            results = Results(self._host.settings, self._journal, self._secrets.values)
            try:
                await results.fetch(guest, self._job, patches, self._phase)
            finally:
                self._job = replace(
                    self._job, artifacts=results.artifacts, tests=results.tests, patch=results.patch
                )
                if patches is not None:
                    with suppress(GuestError):  # it goes with the VM
                        await patches.discard()
        failure = results.failure
        if failure is not None:
            self._end(JobState.FAILED, failure.code, str(failure))
        else:
            self._end(JobState.FAILED if failed else JobState.SUCCEEDED)

    async def _both(self) -> Delivery | None:
        """Source and VM, at the same time; the first error of either ends the other."""
        try:
            async with asyncio.TaskGroup() as group:
                source = group.create_task(self._source())
                group.create_task(self._vm())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        delivery = source.result()
        self._job = await self._save(
            replace(self._job, vm_id=self._vm_id, commit=delivery.commit if delivery else "")
        )
        return delivery

    async def _source(self) -> Delivery | None:
        source = self._job.spec.source
        if source is None:
            return None
        async with self._phase("source"):
            await asyncio.to_thread(self._scratch.mkdir, mode=0o700, parents=True)
            if isinstance(source, PackedSource):
                delivery = open_packed(source, self._packed(), self._job.id)
            else:
                settings = self._host.settings
                delivery = await open_source(
                    source, self._scratch, settings.source_mib << 20, settings.git_networks
                )
        self._warn(*delivery.warnings)
        return delivery

    def _packed(self) -> AsyncGenerator[bytes, None]:
        """Where its files are: with those of all hosts, or with this one's."""
        if self._host.objects is not None:
            return self._host.objects.get(prefix_of(self._job.id) + SOURCE)
        return LocalJobFiles(self._host.settings.data_dir / "jobs").read(self._job.id, SOURCE)

    async def _vm(self) -> None:
        spec = self._job.spec
        wanted = VMSpec(
            image=spec.image,
            driver=spec.driver,
            resources=spec.resources,
            network=spec.network,
            labels={**spec.labels, JOB_LABEL: self._job.id},
        )
        async with self._phase("vm"):
            vm = await self._host.vms.create(
                wanted,
                project=self._job.project_id,
                owner=self._host.owner,
                progress=lambda text: self._journal.emit("phase", name="vm", detail=text),
            )
            self._job = replace(self._job, vm_id=vm.id)

    @property
    def _vm_id(self) -> str:
        return self._job.vm_id or ""

    async def _user(self) -> str | None:
        """Whose the files are: the steps' user's, or the image's. None: root, whom not every image names."""
        user = self._job.spec.user
        if user is None:
            vm = await self._host.vms.get(self._vm_id)
            user = (await self._host.images.get(vm.image_digest)).config.user
        return None if user in ("", "root", "0") else user

    async def _steps(self) -> bool:
        """Run the steps; whether one has failed that counts."""
        runner = StepRunner(
            self._host.executions, self._host.clock, self._journal, self._job, self._vm_id, self._secrets
        )
        failed = False
        for number, step in enumerate(self._job.spec.steps, 1):
            if not runner.wanted(step, failed=failed):
                await self._note(StepResult(step.name, StepOutcome.SKIPPED))
                continue
            self._journal.emit("step_started", step=step.name, number=number)
            result = StepResult(step.name, StepOutcome.CANCELLED, started_at=self._host.clock.now())
            try:
                async with self._timed(f"step {step.name}"):
                    result = await runner.run(step)
            except AetheriumError:  # the command did not end, the VM or the way to it did
                result = replace(result, outcome=StepOutcome.FAILED)
                raise
            finally:
                ended = result if result.ended_at else replace(result, ended_at=self._host.clock.now())
                await finish(self._note(ended))
            failed = failed or (result.outcome is StepOutcome.FAILED and not result.ignored)
        return failed

    async def _note(self, result: StepResult) -> None:
        self._job = await self._save(replace(self._job, steps=(*self._job.steps, result)))
        found = result.result
        facts = {} if found is None else {
            "exit_code": found.exit_code, "signal": found.signal, "oom": found.oom, "error": found.error,
            "state": str(found.state), "duration_s": round(found.duration_s, 3),
        }  # fmt: skip
        self._journal.emit(
            "step_finished",
            step=result.name,
            outcome=str(result.outcome),
            ignored=result.ignored,
            result=facts,
        )

    @asynccontextmanager
    async def _phase(self, name: str) -> AsyncIterator[None]:
        """Tell when it begins and ends, and keep how long it took."""
        self._journal.emit("phase", name=name)
        async with self._timed(name):
            yield
        self._journal.emit("phase", name=name, duration_s=self._job.timings[-1].duration_s)

    @asynccontextmanager
    async def _timed(self, name: str) -> AsyncIterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            timing = PhaseTiming(name, round(time.monotonic() - begin, 3))
            self._job = replace(self._job, timings=(*self._job.timings, timing))

    def _warn(self, *messages: str) -> None:
        for message in messages:
            self._journal.emit("warning", message=message)

    def _end(self, state: JobState, code: str = "", error: str = "") -> None:
        self._job = replace(self._job, state=state, error_code=code, error=error)

    async def _clean_up(self) -> None:
        """The VM and what was fetched for it go; what is recorded of the job stays true."""
        await asyncio.to_thread(shutil.rmtree, self._scratch, ignore_errors=True)
        if self._job.vm_id is None:
            return
        try:
            await self._host.vms.delete(self._job.vm_id)
        except NotFound:
            return
        except AetheriumError as error:
            log.warning(
                "The VM of the job %s could not be removed and will be later: %s", self._job.id, error
            )


_: type[JobRunner] = VMJobRunner
