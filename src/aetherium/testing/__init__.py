"""Fakes that misbehave on purpose, for tests here and of plugins."""

from aetherium.testing.drivers import DyingDriver, SlowDriver, WrappedDriver

__all__ = ["DyingDriver", "SlowDriver", "WrappedDriver"]
