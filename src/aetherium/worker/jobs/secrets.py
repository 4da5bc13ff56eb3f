"""The secrets of one job: values that came with it, and stored ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from aetherium.domain.jobs import Job
from aetherium.domain.secrets import OpenedSecret
from aetherium.interfaces.images import ImageStore
from aetherium.services.secrets.uses import SecretUses


@dataclass(frozen=True, slots=True)
class JobSecrets:
    """In memory for as long as the job is carried out.

    Args:
        given: by whoever has submitted it.
    """

    uses: SecretUses
    job_id: str
    given: Mapping[str, str] = field(repr=False)
    stored: Mapping[str, OpenedSecret]

    @property
    def values(self) -> Mapping[str, str]:
        """All of them, for masking: a step that was not given one may still find it and print it."""
        return {**{name: each.value for name, each in self.stored.items()}, **self.given}

    async def for_step(self, names: Collection[str], *, execution: str, vm: str) -> Mapping[str, str]:
        """What a step sees. That it is given stored ones is recorded first; raises Unavailable if that
        cannot be."""
        opened = [self.stored[name] for name in names if name in self.stored]
        await self.uses.note(opened, execution=execution, vm=vm, job=self.job_id)
        return {name: self.values[name] for name in names}


async def open_secrets(
    job: Job, given: Mapping[str, str], uses: SecretUses, images: ImageStore
) -> JobSecrets:
    """Those that the submitter gave no value for are taken from the store, all at once and before anything
    runs: the steps of a job see one version of each. Raises NotFound, which names one that is missing."""
    names = [name for name in job.spec.secret_names if name not in given]
    stored: Mapping[str, OpenedSecret] = {}
    if names:
        image = await images.get(job.spec.image)
        stored = await uses.of_job(job.project_id, names, image, job.spec.image, job.spec.name)
    return JobSecrets(uses, job.id, given, stored)
