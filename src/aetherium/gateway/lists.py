"""Lists over REST: what their queries say, and how a page is answered. See listing.py."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import AwareDatetime
from starlette.datastructures import URL
from starlette.responses import Response

from aetherium.domain.errors import InvalidInput
from aetherium.gateway import wire
from aetherium.gateway.listing import Listing, Page, Sort, TimeSort
from aetherium.gateway.rest.bodies import Limit

_LABEL = re.compile(r"[A-Za-z0-9._/-]{1,63}")

Name = Annotated[str, Query(description="Only those whose name begins so.")]
After = Annotated[AwareDatetime | None, Query(description="Only those made then or later.")]
Before = Annotated[AwareDatetime | None, Query(description="Only those made before.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Listing):
    """A page, and the URL at which it was asked for."""

    url: URL

    def reply(self, page: Page[Any]) -> Response:
        """The answer, with a link to the next page."""
        body = b'{"items":%s,"next_cursor":%s}' % (
            wire.encode(page.items),
            json.dumps(page.cursor or None).encode(),
        )
        response = Response(body, media_type="application/json")
        if page.cursor:
            following = self.url.include_query_params(cursor=page.cursor)
            response.headers["link"] = f'<{following.path}?{following.query}>; rel="next"'
        return response


Cursor = Annotated[str, Query(max_length=1000, description="`next_cursor` of the page before.")]


async def _by_time(
    request: Request,
    limit: Limit = 100,
    cursor: Cursor = "",
    sort: Annotated[TimeSort | None, Query(description="Which come first; default: the newest.")] = None,
    created_after: After = None,
    created_before: Before = None,
) -> Asked:
    return Asked(limit, cursor, sort, created_after, created_before, url=request.url)


async def _by_any(
    request: Request,
    limit: Limit = 100,
    cursor: Cursor = "",
    sort: Annotated[Sort | None, Query(description="The order; a minus turns it round.")] = None,
    created_after: After = None,
    created_before: Before = None,
) -> Asked:
    return Asked(limit, cursor, sort, created_after, created_before, url=request.url)


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


ByTime = Annotated[Asked, Depends(_by_time)]
BySort = Annotated[Asked, Depends(_by_any)]
Labels = Annotated[Mapping[str, str], Depends(_labels)]
