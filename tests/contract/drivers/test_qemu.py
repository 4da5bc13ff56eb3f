"""The driver contract for QEMU."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aetherium.domain.images import ImagePaths
from aetherium.domain.vms import Resources
from aetherium.drivers.qemu import QemuDriver
from tests.contract.drivers.base import MakeDriver, Origin, originate
from tests.contract.drivers.contract import DriverContract

RESOURCES = Resources(vcpus=1, memory_mib=384, disk_mib=512)


@pytest.fixture(scope="module")
async def origin(tmp_path_factory: pytest.TempPathFactory, base_paths: ImagePaths) -> AsyncIterator[Origin]:
    async with originate(QemuDriver, tmp_path_factory.mktemp("qemu"), base_paths, RESOURCES) as found:
        yield found


@pytest.mark.vm
class TestQemuDriver(DriverContract):
    @pytest.fixture
    def make_driver(self) -> MakeDriver:
        return QemuDriver

    @pytest.fixture
    def image(self, base_paths: ImagePaths) -> ImagePaths:
        return base_paths

    @pytest.fixture
    def resources(self) -> Resources:
        return RESOURCES
