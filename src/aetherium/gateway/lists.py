"""Lists: filters, order, and pages, the same for all that is listed.

A cursor says in which order and behind which item to go on: an item that came or went meanwhile makes no
other one be missed or come twice.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request
from pydantic import AwareDatetime
from starlette.datastructures import URL
from starlette.responses import Response

from aetherium.domain.errors import InvalidInput
from aetherium.gateway import wire
from aetherium.gateway.rest.bodies import Limit
from aetherium.interfaces.store import JobFilter
from aetherium.interfaces.task_store import TaskFilter

T = TypeVar("T")

_LABEL = re.compile(r"[A-Za-z0-9._/-]{1,63}")

Name = Annotated[str, Query(description="Only those whose name begins so.")]
After = Annotated[AwareDatetime | None, Query(description="Only those made then or later.")]
Before = Annotated[AwareDatetime | None, Query(description="Only those made before.")]


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
class Listing:
    """One page of a list as it was asked for.

    Args:
        sort: None: as this list is by itself.
    """

    url: URL
    limit: int
    cursor: str
    sort: TimeSort | Sort | None
    created_after: datetime | None
    created_before: datetime | None

    @property
    def oldest_first(self) -> bool:
        """The order, for what is listed by its time only."""
        return self.sort == TimeSort.OLDEST

    @property
    def before(self) -> str:
        """The id behind which to go on; empty: from the first one on."""
        return self._behind(self.sort or TimeSort.NEWEST)[1]

    def narrow(self, where: TaskFilter | JobFilter, labels: Mapping[str, str]) -> None:
        """Add to a filter of the store what is listed of all."""
        if labels:
            where["labels"] = labels
        if self.created_after is not None:
            where["created_after"] = self.created_after
        if self.created_before is not None:
            where["created_before"] = self.created_before

    def fetched(self, items: Sequence[Any]) -> Response:
        """The page, of items that are in order and behind `before`: `limit` of them, and one more if there
        is."""
        last = items[self.limit - 1].id if len(items) > self.limit else None
        return self._answer(items[: self.limit], ("", last) if last else None, self.sort or TimeSort.NEWEST)

    def page(
        self,
        items: Sequence[T],
        facts: Callable[[T], Facts],
        *,
        name: str = "",
        labels: Mapping[str, str] | None = None,
        default: Sort = Sort.NEWEST,
    ) -> Response:
        """The page, of all items there are."""
        sort = self.sort or default
        begin = self._behind(sort)
        known = ((facts(item), item) for item in items)
        keyed = [(_key(fact, sort), item) for fact, item in known if self._fits(fact, name, labels or {})]
        down = sort.startswith("-")
        keyed.sort(key=lambda pair: pair[0], reverse=down)
        if begin != ("", ""):
            keyed = [(key, item) for key, item in keyed if (key < begin if down else key > begin)]
        shown = keyed[: self.limit]
        return self._answer(
            [item for _, item in shown], shown[-1][0] if len(keyed) > self.limit else None, sort
        )

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

    def _answer(self, shown: Sequence[Any], last: tuple[str, str] | None, sort: str) -> Response:
        cursor = None if last is None else _encoded(sort, *last)
        body = b'{"items":%s,"next_cursor":%s}' % (wire.encode(shown), json.dumps(cursor).encode())
        response = Response(body, media_type="application/json")
        if cursor is not None:
            following = self.url.include_query_params(cursor=cursor)
            response.headers["link"] = f'<{following.path}?{following.query}>; rel="next"'
        return response


def _key(fact: Facts, sort: str) -> tuple[str, str]:
    # As text, times of one form sort as they passed.
    by_name = sort in (Sort.NAME, Sort.NAME_DOWN)
    return (fact.name if by_name else f"{fact.created_at.timestamp():020.6f}", fact.id)


def _encoded(sort: str, key: str, id_: str) -> str:
    text = json.dumps([str(sort), key, id_], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


Cursor = Annotated[str, Query(max_length=1000, description="`next_cursor` of the page before.")]


async def _by_time(
    request: Request,
    limit: Limit = 100,
    cursor: Cursor = "",
    sort: Annotated[TimeSort | None, Query(description="Which come first; default: the newest.")] = None,
    created_after: After = None,
    created_before: Before = None,
) -> Listing:
    return Listing(request.url, limit, cursor, sort, created_after, created_before)


async def _by_any(
    request: Request,
    limit: Limit = 100,
    cursor: Cursor = "",
    sort: Annotated[Sort | None, Query(description="The order; a minus turns it round.")] = None,
    created_after: After = None,
    created_before: Before = None,
) -> Listing:
    return Listing(request.url, limit, cursor, sort, created_after, created_before)


async def _labels(
    label: Annotated[
        list[str] | None, Query(description="Only those with these labels, `key=value`.")
    ] = None,
) -> Mapping[str, str]:
    labels = {}
    for item in label or ():
        key, equals, value = item.partition("=")
        if not equals or not _LABEL.fullmatch(key):
            raise InvalidInput(f"{item!r} is no label with a value.", hint="Write key=value.", field="label")
        labels[key] = value
    return labels


ByTime = Annotated[Listing, Depends(_by_time)]
BySort = Annotated[Listing, Depends(_by_any)]
Labels = Annotated[Mapping[str, str], Depends(_labels)]
