"""The contract of a VMDriver. A subclass overrides fixtures only: `make_driver`, `image`, `resources`.

What a driver declares is tested; what it does not declare must raise Unsupported.
"""

from __future__ import annotations

from tests.contract.drivers.ends import EndContract
from tests.contract.drivers.lives import LifeContract
from tests.contract.drivers.snapshots import SnapshotContract


class DriverContract(LifeContract, EndContract, SnapshotContract):
    """All of it."""
