"""Pages of lists: in both orders, none missed and none twice, whatever comes and goes meanwhile."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import URL

from aetherium.domain.errors import InvalidInput
from aetherium.gateway.listing import Facts, Listing, Sort, TimeSort
from aetherium.gateway.lists import Asked

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Item:
    id: str
    minutes: int
    name: str = ""


def _facts(item: Item) -> Facts:
    return Facts(
        item.id, BEGIN + timedelta(minutes=item.minutes), item.name, {"even": str(item.minutes % 2 == 0)}
    )


def _listing(cursor: str = "", sort: Sort | TimeSort | None = None, limit: int = 2, **more: Any) -> Listing:
    return Listing(limit, cursor, sort, **more)


def _page(listing: Listing, items: list[Item], **more: Any) -> tuple[list[str], str]:
    page = listing.page(items, _facts, **more)
    return [item.id for item in page.items], page.cursor


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc")), max_size=12),
    st.sampled_from(Sort),
    st.integers(1, 5),
)
def test_all_pages_together_are_the_list(made: list[tuple[int, str]], sort: Sort, limit: int) -> None:
    items = [Item(f"i{number:02}", *each) for number, each in enumerate(made)]
    cursor, seen = "", []
    while True:
        ids, cursor = _page(_listing(cursor, sort, limit), items)
        seen += ids
        if not cursor:
            break
    by_name = sort in (Sort.NAME, Sort.NAME_DOWN)
    expected = sorted(items, key=lambda item: (item.name if by_name else item.minutes, item.id))
    assert seen == [item.id for item in (reversed(expected) if sort.startswith("-") else expected)]


def test_what_goes_meanwhile_makes_nothing_be_missed() -> None:
    items = [Item(f"i{number}", number) for number in range(6)]
    first, cursor = _page(_listing(), items)
    assert first == ["i5", "i4"]
    left = [item for item in items if item.id not in ("i4", "i5")]
    assert _page(_listing(cursor), [*left, Item("i9", 9)])[0] == ["i3", "i2"]


def test_filters() -> None:
    items = [Item("a", 0, "web-1"), Item("b", 1, "web-2"), Item("c", 2, "db")]
    assert _page(_listing(), items, name="web")[0] == ["b", "a"]
    assert _page(_listing(), items, labels={"even": "True"})[0] == ["c", "a"]
    assert _page(_listing(created_after=BEGIN + timedelta(minutes=1)), items)[0] == ["c", "b"]
    assert _page(_listing(created_before=BEGIN + timedelta(minutes=1)), items)[0] == ["a"]


def test_the_next_page_is_linked() -> None:
    items = [Item(f"i{number}", number) for number in range(3)]
    asked = Asked(2, url=URL("http://x/v1/things?limit=2&state=a"))
    first = asked.reply(asked.page(items, _facts))
    body = json.loads(bytes(first.body))
    cursor = body["next_cursor"]
    assert [item["id"] for item in body["items"]] == ["i2", "i1"]
    assert first.headers["link"] == f'</v1/things?limit=2&state=a&cursor={cursor}>; rel="next"'
    last = asked.reply(_listing(cursor).page(items, _facts))
    assert json.loads(bytes(last.body))["next_cursor"] is None
    assert "link" not in last.headers


def test_a_page_that_the_store_has_made() -> None:
    items = [Item(f"i{number}", number) for number in (5, 4, 3)]
    page = _listing().fetched(items)
    assert [item.id for item in page.items] == ["i5", "i4"]
    following = _listing(page.cursor)
    assert (following.before, following.oldest_first) == ("i4", False)
    assert following.fetched(items[2:]).cursor == ""


@pytest.mark.parametrize("cursor", ["x", "i4", "W10", "bnVsbA", "WyJhIiwxLDJd", "ä"])
def test_a_cursor_that_is_none(cursor: str) -> None:
    with pytest.raises(InvalidInput):
        _listing(cursor).page([], _facts)


def test_a_cursor_of_another_order() -> None:
    _, cursor = _page(_listing(), [Item(f"i{number}", number) for number in range(3)])
    with pytest.raises(InvalidInput, match="order"):
        _listing(cursor, Sort.NAME).page([], _facts)
