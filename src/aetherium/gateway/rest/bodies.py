"""What requests carry: domain values, with a few things beside them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Body, Header, Query

from aetherium.domain.executions import ExecutionSpec, TerminalSize
from aetherium.domain.images import ImageRecipe
from aetherium.domain.jobs import JobSpec
from aetherium.domain.projects import Quota
from aetherium.domain.schedules import ScheduleSpec
from aetherium.domain.tasks import TaskSpec, TypeLimit
from aetherium.domain.vms import VMSpec
from aetherium.gateway.choosing import TaskChoice
from aetherium.gateway.wire import refusing_unknown_keys

Limit = Annotated[int, Query(ge=1, le=1000, description="Items per page.")]
Wait = Annotated[bool, Query(description="Answer at its end.")]
Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        max_length=255,
        description="Made up by the client. A repeat with the same one is answered as the first request was.",
    ),
]
Path = Annotated[str, Query(min_length=1, description="Path in the guest.")]


@dataclass(frozen=True, slots=True)
class VMCreate(VMSpec):
    """A VM's spec, and the snapshot that it is to be restored from (id, name or prefix), if any."""

    snapshot: str | None = None

    @property
    def spec(self) -> VMSpec:
        """The spec alone."""
        return VMSpec(**{item.name: getattr(self, item.name) for item in dataclasses.fields(VMSpec)})


@dataclass(frozen=True, slots=True)
class VMExtend:
    """`ttl_s`: seconds from now on; null: it is not deleted by itself."""

    ttl_s: float | None


@dataclass(frozen=True, slots=True)
class VMStop:
    """`grace_s`: seconds for a clean power-off."""

    grace_s: float = 10.0


@dataclass(frozen=True, slots=True)
class VMFork:
    """How many copies, and their names, if they are to have any."""

    count: int = 1
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExecutionSignal:
    """`signal`: its number (2: SIGINT, 15: SIGTERM)."""

    signal: int


@dataclass(frozen=True, slots=True)
class FileMove:
    """From where to where, in the guest."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class FileMode:
    """`mode`: permission bits as a number (420 is 0o644)."""

    path: str
    mode: int


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory to make."""

    path: str
    parents: bool = True
    mode: int = 0o755
    user: str | None = None


@dataclass(frozen=True, slots=True)
class SnapshotCreate:
    """A name for the snapshot, if it is to have one."""

    name: str | None = None


@dataclass(frozen=True, slots=True)
class ImageBuild:
    """What to build; null: the recipe ``base``."""

    recipe: ImageRecipe | None = None
    cache: bool = True


@dataclass(frozen=True, slots=True)
class ImageImport:
    """Where the OCI image is (``docker://…``, ``oci:DIR:TAG``, ``docker-archive:FILE``; paths on the
    gateway's host), and the tag that it gets."""

    source: str
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class ImageTag:
    """A further tag."""

    tag: str


@dataclass(frozen=True, slots=True)
class ImagePrune:
    """`tagged`: also images that have a tag but no user."""

    tagged: bool = False


@dataclass(frozen=True, slots=True)
class JobSubmit:
    """A job, and the values of its secrets, which are kept in memory only."""

    spec: JobSpec
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class TaskSubmit:
    """A task, and the project (id or name) that it belongs to."""

    spec: TaskSpec
    project: str = ""


@dataclass(frozen=True, slots=True)
class TaskBatch:
    """Several tasks of one project: all are accepted, or none."""

    specs: tuple[TaskSpec, ...]
    project: str = ""


@dataclass(frozen=True, slots=True)
class TaskCancel:
    """Why, for people."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class ScheduleCreate:
    """A schedule, its name, and the project (id or name) that it belongs to."""

    name: str
    spec: ScheduleSpec
    project: str = ""


@dataclass(frozen=True, slots=True)
class SecretSet:
    """A secret's value: text of at most 64 KiB."""

    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SecretRotation:
    """`master`: only wrap the keys under the present master key, after it was replaced."""

    master: bool = False


@dataclass(frozen=True, slots=True)
class ProjectCreate:
    """A project."""

    name: str
    quota: Quota = field(default_factory=Quota)


VMCreateBody = Annotated[VMCreate, refusing_unknown_keys(VMCreate), Body()]
VMExtendBody = Annotated[VMExtend, refusing_unknown_keys(VMExtend), Body()]
VMStopBody = Annotated[VMStop | None, refusing_unknown_keys(VMStop), Body()]
VMForkBody = Annotated[VMFork | None, refusing_unknown_keys(VMFork), Body()]
ExecutionBody = Annotated[ExecutionSpec, refusing_unknown_keys(ExecutionSpec), Body()]
SignalBody = Annotated[ExecutionSignal, refusing_unknown_keys(ExecutionSignal), Body()]
SizeBody = Annotated[TerminalSize, refusing_unknown_keys(TerminalSize), Body()]
MoveBody = Annotated[FileMove, refusing_unknown_keys(FileMove), Body()]
ModeBody = Annotated[FileMode, refusing_unknown_keys(FileMode), Body()]
DirectoryBody = Annotated[Directory, refusing_unknown_keys(Directory), Body()]
SnapshotBody = Annotated[SnapshotCreate | None, refusing_unknown_keys(SnapshotCreate), Body()]
BuildBody = Annotated[ImageBuild | None, refusing_unknown_keys(ImageBuild), Body()]
ImportBody = Annotated[ImageImport, refusing_unknown_keys(ImageImport), Body()]
TagBody = Annotated[ImageTag, refusing_unknown_keys(ImageTag), Body()]
PruneBody = Annotated[ImagePrune | None, refusing_unknown_keys(ImagePrune), Body()]
JobBody = Annotated[JobSubmit, refusing_unknown_keys(JobSubmit), Body()]
TaskBody = Annotated[TaskSubmit, refusing_unknown_keys(TaskSubmit), Body()]
TaskBatchBody = Annotated[TaskBatch, refusing_unknown_keys(TaskBatch), Body()]
TaskCancelBody = Annotated[TaskCancel | None, refusing_unknown_keys(TaskCancel), Body()]
TaskChoiceBody = Annotated[TaskChoice, refusing_unknown_keys(TaskChoice), Body()]
ScheduleBody = Annotated[ScheduleCreate, refusing_unknown_keys(ScheduleCreate), Body()]
LimitBody = Annotated[TypeLimit, refusing_unknown_keys(TypeLimit), Body()]
SecretBody = Annotated[SecretSet, refusing_unknown_keys(SecretSet), Body()]
RotationBody = Annotated[SecretRotation | None, refusing_unknown_keys(SecretRotation), Body()]
ProjectBody = Annotated[ProjectCreate, refusing_unknown_keys(ProjectCreate), Body()]
QuotaBody = Annotated[Quota, refusing_unknown_keys(Quota), Body()]
