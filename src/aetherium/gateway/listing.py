"""Lists: filters, order, and pages, the same for all that is listed, over REST and gRPC.

A cursor says in which order and behind which item to go on: an item that came or went meanwhile makes no
other one be missed or come twice.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from aetherium.domain.errors import InvalidInput
from aetherium.domain.executions import Execution
from aetherium.domain.identity import APIKey, Member
from aetherium.domain.images import Image
from aetherium.domain.projects import Project
from aetherium.domain.schedules import Schedule
from aetherium.domain.secrets import Secret
from aetherium.domain.snapshots import Snapshot
from aetherium.domain.vms import VM
from aetherium.domain.workers import WorkerStatus
from aetherium.interfaces.store import JobFilter
from aetherium.interfaces.task_store import TaskFilter


class HasId(Protocol):
    """What has an id that sorts by its time."""

    @property
    def id(self) -> str: ...


T = TypeVar("T")
Row = TypeVar("Row", bound=HasId)


class TimeSort(StrEnum):
    """The oldest or the newest first."""

    OLDEST = "created_at"
    NEWEST = "-created_at"


class Sort(StrEnum):
    """By time or by name; with a minus the other way round."""

    OLDEST = "created_at"
    NEWEST = "-created_at"
    NAME = "name"
    NAME_DOWN = "-name"


@dataclass(frozen=True, slots=True)
class Facts:
    """What an item is listed by."""

    id: str
    created_at: datetime
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list.

    Args:
        cursor: for the next page; empty: this is the last one.
    """

    items: Sequence[T]
    cursor: str


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a list as it was asked for.

    Args:
        limit: items, at most.
        cursor: of the page before; empty: the first page.
        sort: None: as this list is by itself.
    """

    limit: int
    cursor: str = ""
    sort: TimeSort | Sort | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None

    @property
    def oldest_first(self) -> bool:
        """The order, for what is listed by its time only."""
        return self._time_sort == TimeSort.OLDEST

    @property
    def before(self) -> str:
        """The id behind which to go on; empty: from the first one on."""
        return self._behind(self._time_sort)[1]

    @property
    def _time_sort(self) -> TimeSort:
        return TimeSort(self.sort or TimeSort.NEWEST)

    def narrow(self, where: TaskFilter | JobFilter, labels: Mapping[str, str]) -> None:
        """Add to a filter of the store what is listed of all."""
        if labels:
            where["labels"] = labels
        if self.created_after is not None:
            where["created_after"] = self.created_after
        if self.created_before is not None:
            where["created_before"] = self.created_before

    def fetched(self, items: Sequence[Row]) -> Page[Row]:
        """The page, of items that are in order and behind `before`: `limit` of them, and one more if there
        is."""
        shown = items[: self.limit]
        more = len(items) > self.limit
        return Page(shown, _encoded(self._time_sort, "", shown[-1].id) if more else "")

    def page(
        self,
        items: Sequence[T],
        facts: Callable[[T], Facts],
        *,
        name: str = "",
        labels: Mapping[str, str] | None = None,
        default: Sort = Sort.NEWEST,
    ) -> Page[T]:
        """The page, of all items there are.

        Args:
            name: how theirs begin.
            default: the order of this list by itself.
        """
        sort = self.sort or default
        begin = self._behind(sort)
        known = ((facts(item), item) for item in items)
        keyed = [(_key(fact, sort), item) for fact, item in known if self._fits(fact, name, labels or {})]
        down = sort.startswith("-")
        keyed.sort(key=lambda pair: pair[0], reverse=down)
        if begin != ("", ""):
            keyed = [(key, item) for key, item in keyed if (key < begin if down else key > begin)]
        shown = keyed[: self.limit]
        more = len(keyed) > self.limit
        return Page([item for _, item in shown], _encoded(sort, *shown[-1][0]) if more else "")

    def _fits(self, fact: Facts, name: str, labels: Mapping[str, str]) -> bool:
        return (
            fact.name.startswith(name)
            and labels.items() <= fact.labels.items()
            and (self.created_after is None or fact.created_at >= self.created_after)
            and (self.created_before is None or fact.created_at < self.created_before)
        )

    def _behind(self, sort: str) -> tuple[str, str]:
        """The key behind which to go on."""
        if not self.cursor:
            return ("", "")
        try:
            order, key, id_ = json.loads(base64.urlsafe_b64decode(self.cursor + "=="))
        except (binascii.Error, ValueError, TypeError) as error:
            raise InvalidInput(
                f"The cursor {self.cursor[:80]!r} cannot be read.",
                hint="Give the next_cursor of the page before, as it is.",
                field="cursor",
            ) from error
        if order != sort or not isinstance(key, str) or not isinstance(id_, str):
            raise InvalidInput(
                f"The cursor is of a list in the order {order!r}, not {str(sort)!r}.",
                hint="Go on with the sort of the page before.",
                field="cursor",
            )
        return (key, id_)


def _key(fact: Facts, sort: str) -> tuple[str, str]:
    # As text, times of one form sort as they passed.
    by_name = sort in (Sort.NAME, Sort.NAME_DOWN)
    return (fact.name if by_name else f"{fact.created_at.timestamp():020.6f}", fact.id)


def _encoded(sort: str, key: str, id_: str) -> str:
    text = json.dumps([str(sort), key, id_], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def tagged(images: Sequence[Image], begin: str) -> Sequence[Image]:
    """Those with a tag that begins so."""
    return [image for image in images if not begin or any(tag.startswith(begin) for tag in image.tags)]


def execution_facts(execution: Execution) -> Facts:
    """It has no name."""
    return Facts(execution.id, execution.created_at)


def image_facts(image: Image) -> Facts:
    """Its name is the first of its tags."""
    return Facts(image.digest, image.created_at, min(image.tags, default=""))


def member_facts(member: Member) -> Facts:
    """Its name is the subject, which a project has once."""
    return Facts(member.subject, member.created_at, member.subject)


def named_facts(one: APIKey | Project | Schedule) -> Facts:
    """Of what has a name and no labels."""
    return Facts(one.id, one.created_at, one.name)


def secret_facts(secret: Secret) -> Facts:
    """Those of one name are in the order of what they are for."""
    return Facts(f"{secret.scope} {secret.target} {secret.name}", secret.created_at, secret.name)


def snapshot_facts(snapshot: Snapshot) -> Facts:
    """What a snapshot is listed by."""
    return Facts(snapshot.id, snapshot.created_at, snapshot.name or "", snapshot.labels)


def vm_facts(vm: VM) -> Facts:
    """What a VM is listed by."""
    return Facts(vm.id, vm.created_at, vm.spec.name or "", vm.spec.labels)


def worker_facts(status: WorkerStatus) -> Facts:
    """What a worker is listed by."""
    info = status.worker.info
    return Facts(info.id, status.worker.registered_at, info.name, info.labels)
