"""The driver contract for the fake driver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aetherium.domain.images import ImagePaths
from aetherium.domain.vms import Resources
from aetherium.drivers.fake import FakeDriver
from tests.contract.drivers.base import MakeDriver, Origin, originate
from tests.contract.drivers.contract import DriverContract

NOTHING = Path("/nonexistent")
IMAGE = ImagePaths(NOTHING, NOTHING, NOTHING, NOTHING, "")
RESOURCES = Resources()


@pytest.fixture(scope="module")
async def origin(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Origin]:
    async with originate(FakeDriver, tmp_path_factory.mktemp("fake"), IMAGE, RESOURCES) as found:
        yield found


class TestFakeDriver(DriverContract):
    @pytest.fixture
    def make_driver(self) -> MakeDriver:
        return FakeDriver

    @pytest.fixture
    def image(self) -> ImagePaths:
        return IMAGE

    @pytest.fixture
    def resources(self) -> Resources:
        return RESOURCES
