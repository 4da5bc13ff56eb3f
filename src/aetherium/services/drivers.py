"""The drivers of this host."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from aetherium.domain.errors import AetheriumError, InvalidInput, Unavailable
from aetherium.interfaces.drivers import DriverProbe, VMDriver

log = logging.getLogger(__name__)

AUTO = "auto"
# So many starts in a row that the host failed take a driver out of rotation, for so many seconds.
MOST_FAILURES = 3
REST_S = 60.0


class Drivers:
    """Those that the settings allow.

    Args:
        drivers: strongest first.
        clock: seconds that only grow.
    """

    def __init__(self, drivers: Sequence[VMDriver], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._drivers = {driver.name: driver for driver in drivers}
        self._clock = clock
        self._failures: dict[str, int] = {}
        self._rests_until: dict[str, float] = {}

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

    async def machines(self) -> Mapping[str, str]:
        """What snapshots need of this host, by driver; those are missing whose snapshots do not travel."""
        return {
            name: machine
            for name in await self.working()
            if (machine := (await self.get(name).probe()).machine)
        }

    @contextmanager
    def starting(self, name: str) -> Iterator[None]:
        """Note how the start of a VM goes, as far as the host has to do with it: what a guest does after its
        start is not the driver's fault."""
        try:
            yield
        except AetheriumError:
            self._failures[name] = self._failures.get(name, 0) + 1
            if self._failures[name] >= MOST_FAILURES:
                log.warning("The driver %s failed %d times in a row.", name, self._failures[name])
                self._rests_until[name] = self._clock() + REST_S
            raise
        self._failures.pop(name, None)
        self._rests_until.pop(name, None)

    async def working(self) -> Sequence[str]:
        """Those that others should give VMs to now: they work on this host, and have not failed again and
        again of late."""
        names = []
        for driver in self.all():
            try:
                available = (await driver.probe()).available
            except AetheriumError as error:
                log.warning("The driver %s cannot be probed: %s", driver.name, error)
                continue
            if available and self._clock() >= self._rests_until.get(driver.name, float("-inf")):
                names.append(driver.name)
        return names
