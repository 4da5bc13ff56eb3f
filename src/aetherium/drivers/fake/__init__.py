"""A driver without VMs, for tests only."""

from aetherium.drivers.fake.driver import FakeDriver

__all__ = ["FakeDriver"]
