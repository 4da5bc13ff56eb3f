"""What comes back from a job beside its output: artifacts, test reports, the patch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, replace
from typing import ClassVar

from aetherium.domain.errors import AetheriumError, VMFailed
from aetherium.domain.jobs import Artifact, FailedTest, Job, PatchSummary, TestSummary
from aetherium.interfaces.guest import Guest
from aetherium.interfaces.jobs import JobJournal
from aetherium.services.masking import masked, patterns
from aetherium.settings import Settings
from aetherium.worker.jobs.artifacts import ArtifactBox
from aetherium.worker.jobs.patch import Patches
from aetherium.worker.jobs.reports import Reports

Phase = Callable[[str], AbstractAsyncContextManager[None]]


class ArtifactMissing(AetheriumError):
    """A required artifact matches nothing."""

    code: ClassVar[str] = "artifact_missing"


class Results:
    """Fetches them, and keeps what there is so far. `failure` is why the job has to fail although its steps
    may have passed."""

    def __init__(self, settings: Settings, journal: JobJournal, secrets: Mapping[str, str]) -> None:
        self._settings = settings
        self._journal = journal
        self._forms = patterns(secrets.values())
        self.failure: AetheriumError | None = None
        self.artifacts: tuple[Artifact, ...] = ()
        self.tests: TestSummary | None = None
        self.patch: PatchSummary | None = None

    async def fetch(self, guest: Guest, job: Job, patches: Patches | None, phase: Phase) -> None:
        """All of them. One that fails does not keep the others back. Raises VMFailed when the VM is gone."""
        if job.spec.artifacts:
            async with phase("artifacts"):
                await self._artifacts(guest, job)
        if job.spec.reports:
            async with phase("tests"):
                self.tests = await self._tests(guest, job)
        if patches is not None:
            async with phase("patch"):
                self.patch = await self._patch(patches)

    async def _artifacts(self, guest: Guest, job: Job) -> None:
        settings = self._settings
        box = ArtifactBox(self._journal.directory, settings.artifact_mib << 20, settings.artifacts_mib << 20)
        for rule in job.spec.artifacts:
            try:
                found = await box.take(guest, job.spec.workdir, rule)
            except VMFailed:
                raise
            except AetheriumError as error:
                self._fail(error)
                continue
            for artifact in found:
                self._journal.emit("artifact", **asdict(artifact))
            self.artifacts += tuple(found)
            if not found and rule.required:
                self._fail(
                    ArtifactMissing(
                        f"The required artifact {rule.name!r} is missing: nothing matches {rule.pattern!r}."
                    )
                )
            elif not found:
                self._warn(f"The artifact {rule.name!r} is missing: nothing matches {rule.pattern!r}.")
        self._warn(*box.warnings)

    async def _tests(self, guest: Guest, job: Job) -> TestSummary | None:
        reports = Reports()
        for pattern in job.spec.reports:
            await reports.read(guest, job.spec.workdir, pattern)
        self._warn(*reports.warnings)
        if reports.summary is None:
            return None
        summary = replace(reports.summary, failures=tuple(map(self._masked, reports.summary.failures)))
        self._journal.emit("tests", **asdict(summary))
        return summary

    async def _patch(self, patches: Patches) -> PatchSummary | None:
        try:
            result = await patches.finish(self._journal.directory, self._settings.patch_mib << 20)
        except VMFailed:
            raise
        except AetheriumError as error:
            self._fail(error)
            return None
        self._warn(*result.warnings)
        if result.summary is not None:
            self._journal.emit("patch", **asdict(result.summary))
        return result.summary

    def _masked(self, failure: FailedTest) -> FailedTest:
        if not self._forms:
            return failure
        texts = (failure.name, failure.suite, failure.message)
        return FailedTest(
            *(masked(self._forms, text.encode(errors="replace")).decode(errors="replace") for text in texts)
        )

    def _fail(self, error: AetheriumError) -> None:
        self._warn(str(error))
        self.failure = self.failure or error

    def _warn(self, *messages: str) -> None:
        for message in messages:
            self._journal.emit("warning", message=message)
