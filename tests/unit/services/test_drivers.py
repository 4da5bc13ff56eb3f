"""A driver that the host fails again and again is taken out of rotation for a while."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherium.domain.errors import Unavailable
from aetherium.drivers.fake import FakeDriver
from aetherium.services.drivers import MOST_FAILURES, REST_S, Drivers


def fail(drivers: Drivers, times: int) -> None:
    for _ in range(times):
        with pytest.raises(Unavailable), drivers.starting("fake"):
            raise Unavailable("The host has no memory left.")


async def test_it_rests_and_comes_back(tmp_path: Path) -> None:
    now = 0.0
    drivers = Drivers([FakeDriver(tmp_path)], clock=lambda: now)
    fail(drivers, MOST_FAILURES - 1)
    assert await drivers.working() == ["fake"]
    fail(drivers, 1)
    assert await drivers.working() == []
    now += REST_S
    assert await drivers.working() == ["fake"]
    fail(drivers, 1)  # one more is enough now
    assert await drivers.working() == []


async def test_one_start_that_goes_well_is_enough(tmp_path: Path) -> None:
    drivers = Drivers([FakeDriver(tmp_path)], clock=lambda: 0.0)
    fail(drivers, MOST_FAILURES)
    with drivers.starting("fake"):
        pass
    assert await drivers.working() == ["fake"]
    fail(drivers, MOST_FAILURES - 1)
    assert await drivers.working() == ["fake"]
