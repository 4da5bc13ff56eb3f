"""The drivers of this host."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.domain.errors import InvalidInput, Unavailable
from aetherium.interfaces.drivers import DriverProbe, VMDriver

AUTO = "auto"


class Drivers:
    """Those that the settings allow.

    Args:
        drivers: strongest first.
    """

    def __init__(self, drivers: Sequence[VMDriver]) -> None:
        self._drivers = {driver.name: driver for driver in drivers}

    def all(self) -> Sequence[VMDriver]:
        """Strongest first."""
        return tuple(self._drivers.values())

    def get(self, name: str) -> VMDriver:
        """The driver of that name. Raises InvalidInput."""
        if name not in self._drivers:
            raise InvalidInput(
                f"There is no driver {name!r} here.",
                hint=f"Use one of: {', '.join((AUTO, *self._drivers))} (setting 'drivers').",
                field="driver",
            )
        return self._drivers[name]

    async def choose(self, name: str) -> tuple[VMDriver, DriverProbe]:
        """The driver of that name, or the strongest that works for ``auto``.

        Raises InvalidInput for an unknown one and Unavailable for one that does not work here.
        """
        reasons = []
        for driver in self.all() if name == AUTO else (self.get(name),):
            probe = await driver.probe()
            if probe.available:
                return driver, probe
            reasons.append(f"{driver.name}: {probe.reason} {probe.hint}".strip())
        raise Unavailable(
            f"No driver works on this host. {'; '.join(reasons)}",
            hint="See: aetherium doctor",
            drivers=list(self._drivers),
        )
