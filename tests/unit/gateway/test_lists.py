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
from starlette.responses import Response

from aetherium.domain.errors import InvalidInput
from aetherium.gateway.lists import Facts, Listing, Sort, TimeSort

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
    times = {"created_after": None, "created_before": None, **more}
    return Listing(URL("http://x/v1/things?limit=2&state=a"), limit, cursor, sort, **times)


def _body(response: Response) -> Any:
    return json.loads(bytes(response.body))


def _page(listing: Listing, items: list[Item], **more: Any) -> tuple[list[str], str]:
    answer = _body(listing.page(items, _facts, **more))
    return [item["id"] for item in answer["items"]], answer["next_cursor"] or ""


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
    first = _listing().page(items, _facts)
    cursor = _body(first)["next_cursor"]
    assert first.headers["link"] == f'</v1/things?limit=2&state=a&cursor={cursor}>; rel="next"'
    assert "link" not in _listing(cursor).page(items, _facts).headers


def test_a_page_that_the_store_has_made() -> None:
    items = [Item(f"i{number}", number) for number in (5, 4, 3)]
    answer = _body(_listing().fetched(items))
    assert [item["id"] for item in answer["items"]] == ["i5", "i4"]
    following = _listing(answer["next_cursor"])
    assert (following.before, following.oldest_first) == ("i4", False)
    assert _body(following.fetched(items[2:]))["next_cursor"] is None


@pytest.mark.parametrize("cursor", ["x", "i4", "W10", "bnVsbA", "WyJhIiwxLDJd", "ä"])
def test_a_cursor_that_is_none(cursor: str) -> None:
    with pytest.raises(InvalidInput):
        _listing(cursor).page([], _facts)


def test_a_cursor_of_another_order() -> None:
    _, cursor = _page(_listing(), [Item(f"i{number}", number) for number in range(3)])
    with pytest.raises(InvalidInput, match="order"):
        _listing(cursor, Sort.NAME).page([], _facts)
