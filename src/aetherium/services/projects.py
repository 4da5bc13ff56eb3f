"""Projects and their quotas."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aetherium.domain.errors import AlreadyExists, InvalidInput
from aetherium.domain.ids import PROJECT, new_id
from aetherium.domain.projects import DEFAULT_PROJECT, Project, Quota
from aetherium.interfaces.bus import EventBus
from aetherium.interfaces.store import Store
from aetherium.services.tasks import DISPATCH, SETTINGS

_NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,62}$")


class ProjectService:
    """See the methods. `ref` is an id, a name, or a unique prefix of an id."""

    def __init__(self, store: Store, bus: EventBus) -> None:
        self._store = store
        self._bus = bus

    async def list(self) -> Sequence[Project]:
        """By name."""
        return await self._store.projects.list()

    async def get(self, ref: str) -> Project:
        """Raises NotFound."""
        return await self._store.projects.find(ref)

    async def id_of(self, ref: str) -> str:
        """The id of a project. Raises NotFound."""
        return ref if ref == DEFAULT_PROJECT else (await self.get(ref)).id

    async def create(
        self, name: str, *, quota: Quota | None = None, project_id: str | None = None
    ) -> Project:
        """A project; the same `project_id` again returns the first one.

        Raises InvalidInput, AlreadyExists.
        """
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"A project cannot be named {name!r}.",
                hint="Use up to 63 small letters, digits and '-'; begin with a letter or digit.",
                field="name",
            )
        own_id = project_id or new_id(PROJECT)
        made = Project(own_id, name, await self._store.now(), _checked(quota or Quota()))
        try:
            await self._store.projects.add(made)
        except AlreadyExists:
            for known in await self._store.projects.list() if project_id else ():
                if known.id == project_id:
                    return known
            raise
        return made

    async def set_quota(self, ref: str, quota: Quota) -> Project:
        """Replace what a project may use at once; what runs goes on."""
        project = await self._store.projects.find(ref)
        changed = await self._store.projects.set_quota(project.id, _checked(quota))
        await self._bus.publish(DISPATCH, SETTINGS)  # more may begin now
        return changed


def _checked(quota: Quota) -> Quota:
    limits = {name: getattr(quota, name) for name in Quota.__slots__}
    for name, limit in limits.items():
        if limit is not None and limit < 0:
            raise InvalidInput(
                f"The quota of {name} is {limit}.", hint="Give 0 or more, or null for no limit.", field=name
            )
    return quota
