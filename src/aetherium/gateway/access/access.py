"""What one caller may reach: ids of its project's things, and a line in the audit log for what it changes.

A change is recorded before it is made, so that none is made without a record; how it ended follows.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from aetherium.domain.audit import AuditEvent
from aetherium.domain.errors import AetheriumError, Forbidden, InvalidInput
from aetherium.domain.identity import LOCAL, Caller
from aetherium.domain.ids import EXECUTION, JOB, SCHEDULE, SNAPSHOT, TASK, VM, is_id
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.interfaces.audit import Auditor
from aetherium.interfaces.store import Store

# The outcome of an entry for what is about to be done.
BEGUN = "begun"
# Labels that mean something to the platform.
RESERVED = "aetherium."


class _Thing(Protocol):
    @property
    def id(self) -> str: ...


class Known:
    """Whose things are, by id: they never change their project.

    Args:
        most: how many are remembered.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._projects: OrderedDict[str, str] = OrderedDict()

    def project_of(self, id_: str) -> str | None:
        """None: not known."""
        return self._projects.get(id_)

    def note(self, id_: str, project_id: str) -> None:
        """Remember it; the oldest are forgotten."""
        self._projects[id_] = project_id
        if len(self._projects) > self._most:
            self._projects.popitem(last=False)


@dataclass(slots=True)
class Doing:
    """What is being done, for the audit log.

    Attributes:
        resource: the id, once it is known.
    """

    resource: str
    data: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Access:
    """One caller's.

    Args:
        everything: the store without regard to projects.
        within: what all that is done lies in, for the audit log.
    """

    caller: Caller
    everything: Store
    auditor: Auditor
    known: Known
    within: str = ""

    @property
    def project(self) -> str:
        """The project of what the caller makes."""
        return self.caller.project_id or DEFAULT_PROJECT

    @property
    def store(self) -> Store:
        """As the caller sees it."""
        one = self.caller.project_id
        return self.everything if one is None else self.everything.of_project(one)

    @property
    def local(self) -> bool:
        """Whether it comes over the Unix socket, from who owns this host's files anyway."""
        return self.caller.subject == LOCAL.subject

    async def choose(self, ref: str) -> str:
        """The id of the project that a request names; empty: the caller's. Raises NotFound for another's."""
        return (await self.store.projects.find(ref)).id if ref else self.project

    async def vm(self, ref: str) -> str:
        """The id of one of the caller's VMs. Raises NotFound."""
        return await self._own(ref, VM, lambda store: store.vms.find(ref))

    async def snapshot(self, ref: str) -> str:
        """As `vm`."""
        return await self._own(ref, SNAPSHOT, lambda store: store.snapshots.find(ref))

    async def job(self, ref: str) -> str:
        """As `vm`."""
        return await self._own(ref, JOB, lambda store: store.jobs.find(ref))

    async def task(self, ref: str) -> str:
        """As `vm`."""
        return await self._own(ref, TASK, lambda store: store.tasks.find(ref))

    async def schedule(self, ref: str) -> str:
        """As `vm`."""
        return await self._own(ref, SCHEDULE, lambda store: store.schedules.find(ref))

    async def execution(self, execution_id: str) -> str:
        """The id of an execution in one of the caller's VMs. Raises NotFound."""
        return await self._own(execution_id, EXECUTION, lambda store: store.executions.get(execution_id))

    def note(self, id_: str) -> None:
        """What was made for the caller is its own, also before its row can be read."""
        if self.caller.project_id is not None:
            self.known.note(id_, self.caller.project_id)

    @asynccontextmanager
    async def doing(self, permission: str, action: str = "", resource: str = "") -> AsyncIterator[Doing]:
        """A block that needs a permission; with an `action` it is recorded. Raises Forbidden."""
        what = Doing(f"{self.within}{resource}")
        try:
            self.caller.require(permission)
        except Forbidden as error:
            if action:
                self.auditor.note(self._event(action, what, error.code))
            raise
        if not action:
            yield what
            return
        await self.auditor.record(self._event(action, what, BEGUN))
        try:
            yield what
        except BaseException as error:
            self.auditor.note(self._event(action, what, _outcome(error)))
            raise
        self.auditor.note(self._event(action, what, "ok"))

    async def _own(self, ref: str, prefix: str, find: Callable[[Store], Awaitable[_Thing]]) -> str:
        one = self.caller.project_id
        if is_id(ref, prefix) and (one is None or self.known.project_of(ref) == one):
            return ref
        found = (await find(self.store)).id
        self.note(found)
        return found

    def _event(self, action: str, what: Doing, outcome: str) -> AuditEvent:
        caller = self.caller
        return AuditEvent(
            actor=caller.subject,
            action=action,
            resource=what.resource,
            outcome=outcome,
            project_id=caller.project_id,
            address=caller.address,
            request_id=caller.request_id,
            data=what.data,
        )


def _outcome(error: BaseException) -> str:
    if isinstance(error, AetheriumError):
        return error.code
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "internal"


def refuse_reserved(labels: Mapping[str, str]) -> None:
    """Raises InvalidInput for labels by which the platform knows its own VMs."""
    for key in labels:
        if key.startswith(RESERVED):
            raise InvalidInput(
                f"The label {key!r} is the platform's own.",
                hint=f"Use one that does not begin with {RESERVED!r}.",
                field="labels",
            )
