"""From stored secrets to the environment of one execution: opened late, noted, audited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from aetherium.domain.audit import AuditEvent
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.images import Image
from aetherium.domain.secrets import OpenedSecret, Place, SecretScope
from aetherium.domain.vms import VM
from aetherium.interfaces.audit import Auditor
from aetherium.interfaces.secrets import SecretProvider
from aetherium.services.secrets.database import missing

# The tags of the image with a digest.
TagsOf = Callable[[str], Awaitable[Collection[str]]]
# Who acts where no caller is known: what carries tasks out.
SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class SecretUses:
    """Gives secrets out. Raises NotFound for one that is missing, Unavailable when it cannot be opened or its
    use cannot be recorded; nothing is given then.

    Args:
        tags_of: as they are now; an image may have got one after the VM was made.
    """

    provider: SecretProvider
    auditor: Auditor
    tags_of: TagsOf

    async def given(self, spec: ExecutionSpec, vm: VM, execution_id: str, *, by: str) -> ExecutionSpec:
        """An execution in that VM with the values of the secrets that it asks for by name. A value that the
        caller brought goes before a stored one."""
        names = [name for name in spec.secret_names if name not in spec.secret_env]
        if not names:
            return spec
        images = {vm.spec.image, vm.image_digest, *await self.tags_of(vm.image_digest)}
        opened = await self.provider.open(vm.project_id, names, Place(frozenset(images)))
        await self.note(opened.values(), by=by, execution=execution_id, vm=vm.id)
        values = {name: each.value for name, each in opened.items()}
        return replace(spec, secret_env={**values, **spec.secret_env})

    async def of_job(
        self, project_id: str, names: Collection[str], image: Image, asked: str, job: str
    ) -> Mapping[str, OpenedSecret]:
        """Secrets of a job, which are noted as its steps are given them.

        Args:
            asked: how the job names its image.
        """
        place = Place(frozenset({asked, image.digest, *image.tags}), job)
        return await self.provider.open(project_id, names, place)

    async def note(self, opened: Iterable[OpenedSecret], *, by: str = SYSTEM, **where: str) -> None:
        """Record that they are being given out.

        Args:
            where: the ids of the execution, the VM and the job.
        """
        secrets = [each.secret for each in opened]
        for secret in secrets:
            data = {
                "name": secret.name,
                "scope": str(secret.scope),
                "target": secret.target,
                "version": secret.version,
                **where,
            }
            event = AuditEvent(by, "secret.use", secret.id, project_id=secret.project_id, data=data)
            await self.auditor.record(event)
        if secrets:
            await self.provider.note_use(secrets)

    async def expect(self, project_id: str, names: Collection[str], job: str) -> None:
        """Refuse a job early whose secrets nobody has set. Which image it will get is known later only, so a
        secret of any image will do here."""
        if not names:
            return
        known = {
            secret.name
            for secret in await self.provider.list(project_id)
            if secret.scope is not SecretScope.JOB or secret.target == job
        }
        for name in sorted(names):
            if name not in known:
                raise missing(name, Place(job=job))
