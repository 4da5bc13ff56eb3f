"""Which tasks a request means."""

from __future__ import annotations

from typing import cast

import pytest

from aetherium.domain.errors import InvalidInput
from aetherium.domain.ids import WORKER, new_id
from aetherium.gateway.choosing import TaskChoice, chosen, listed
from aetherium.gateway.platform import Platform

NONE = cast(Platform, None)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (TaskChoice(all=True), {}),
        (TaskChoice(ids=("a", "b", "a")), {"ids": {"a", "b"}}),
        (TaskChoice(types=("vm.exec",), error_code="x"), {"types": {"vm.exec"}, "error_code": "x"}),
        (TaskChoice(group="night", reason="because"), {"group": "night"}),
    ],
)
async def test_all_that_is_given_has_to_fit(body: TaskChoice, where: object) -> None:
    assert await chosen(body, NONE) == where


@pytest.mark.parametrize(
    "body",
    [
        TaskChoice(),
        TaskChoice(reason="because"),
        TaskChoice(group="night", all=True),
        TaskChoice(ids=tuple(map(str, range(1001)))),
    ],
)
async def test_all_are_meant_only_by_saying_so(body: TaskChoice) -> None:
    with pytest.raises(InvalidInput):
        await chosen(body, NONE)


async def test_a_worker_that_was_forgotten_is_known_by_its_id() -> None:
    gone = new_id(WORKER)
    assert await listed(NONE, worker=gone) == {"worker_id": gone}
