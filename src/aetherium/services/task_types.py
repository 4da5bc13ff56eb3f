"""The built-in task types, and their payloads."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from aetherium.domain.errors import InvalidInput
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.tasks import Demand, Retry
from aetherium.domain.vms import VMSpec
from aetherium.interfaces.handlers import TaskType


@dataclass(frozen=True, slots=True)
class Noop:
    """Does nothing, for `sleep_s` seconds; fails the first `failures` times. For trying out a cluster."""

    sleep_s: float = 0.0
    failures: int = 0
    answer: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunJob:
    """Carries out a job that was recorded with the task."""

    job_id: str


@dataclass(frozen=True, slots=True)
class CreateVM:
    """Makes a VM; the task's result names it."""

    spec: VMSpec = field(default_factory=VMSpec)
    snapshot: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteVM:
    """Deletes a VM on its worker."""

    vm_id: str


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Runs a command in a VM on its worker; the result has its exit code and the end of its output."""

    vm_id: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    user: str | None = None
    timeout_s: float | None = None
    secret_names: tuple[str, ...] = ()

    @property
    def spec(self) -> ExecutionSpec:
        """What the guest gets, but for stored secrets."""
        return ExecutionSpec(
            self.argv,
            env=self.env,
            cwd=self.cwd,
            user=self.user,
            timeout_s=self.timeout_s,
            secret_names=self.secret_names,
        )


NOOP, JOB_RUN, VM_CREATE, VM_DELETE, VM_EXEC = (
    "system.noop",
    "job.run",
    "vm.create",
    "vm.delete",
    "vm.exec",
)


def _vm_demand(payload: CreateVM) -> Demand:
    spec = payload.spec
    return Demand(
        vcpus=spec.resources.vcpus,
        memory_mib=spec.resources.memory_mib,
        driver=spec.driver,
        image=spec.image,
    )


BUILT_IN = (
    TaskType(NOOP, Noop, "Does nothing, for a while if so wished."),
    TaskType(JOB_RUN, RunJob, "Carries out a job.", public=False),
    TaskType(VM_CREATE, CreateVM, "Makes a VM.", timeout_s=600.0, demand=_vm_demand),
    TaskType(VM_DELETE, DeleteVM, "Deletes a VM.", timeout_s=120.0, retry=Retry(max_attempts=10)),
    # Not repeated: nobody knows what the command has done before its worker was lost.
    TaskType(VM_EXEC, RunCommand, "Runs a command in a VM.", retry=Retry(max_attempts=1)),
)


class TaskTypes:
    """The types of this installation, by name."""

    def __init__(self, types: Iterable[TaskType] = BUILT_IN) -> None:
        self._types = {each.name: each for each in types}

    def all(self) -> list[TaskType]:
        """By name."""
        return sorted(self._types.values(), key=lambda each: each.name)

    def get(self, name: str) -> TaskType:
        """Raises InvalidInput that names the nearest one."""
        if name in self._types:
            return self._types[name]
        near = difflib.get_close_matches(name, self._types, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(sorted(self._types))}."
        raise InvalidInput(f"There is no task type {name!r}.", hint=hint, field="type")

    def payload(self, name: str, values: Mapping[str, object]) -> Any:
        """The payload as its dataclass. Raises InvalidInput."""
        kind: Any = self.get(name).payload
        unknown = sorted(values.keys() - kind.__dataclass_fields__.keys())
        if unknown:
            raise InvalidInput(
                f"A payload of {name} has no {unknown[0]!r}.",
                hint=f"It has: {', '.join(kind.__dataclass_fields__)}.",
                field=f"payload.{unknown[0]}",
            )
        try:
            return _adapter(kind).validate_python(dict(values))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidInput(
                f"The payload of {name} cannot be used: {where}: {first['msg']}.", field=f"payload.{where}"
            ) from error

    def values(self, payload: Any) -> dict[str, object]:
        """The inverse of `payload`: JSON types."""
        kind: Any = type(payload)
        found: dict[str, object] = _adapter(kind).dump_python(payload, mode="json")
        return found


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
