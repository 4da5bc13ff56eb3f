"""What every Store has to do. Subclasses give a `stores` fixture."""

from __future__ import annotations

import pytest

from aetherium.interfaces.store import Store
from tests.contract.store.auditing import AuditContract
from tests.contract.store.databases import Stores
from tests.contract.store.events import EventsContract
from tests.contract.store.executions import ExecutionsContract
from tests.contract.store.idempotency import IdempotencyContract
from tests.contract.store.identity import APIKeysContract, MembersContract
from tests.contract.store.jobs import JobsContract
from tests.contract.store.leaders import LeadersContract
from tests.contract.store.listing import ListingContract
from tests.contract.store.projects import ImagesContract, ProjectsContract
from tests.contract.store.queues import QueuesContract
from tests.contract.store.schedules import SchedulesContract
from tests.contract.store.secrets import SecretsContract
from tests.contract.store.snapshots import SnapshotsContract
from tests.contract.store.tasks import TasksContract
from tests.contract.store.tenants import TenantsContract
from tests.contract.store.transactions import TransactionsContract
from tests.contract.store.vms import VMsContract
from tests.contract.store.workers import WorkersContract


class StoreContract(
    VMsContract,
    ExecutionsContract,
    SnapshotsContract,
    JobsContract,
    TasksContract,
    WorkersContract,
    SchedulesContract,
    ProjectsContract,
    ImagesContract,
    QueuesContract,
    EventsContract,
    LeadersContract,
    ListingContract,
    AuditContract,
    IdempotencyContract,
    SecretsContract,
    APIKeysContract,
    MembersContract,
    TenantsContract,
    TransactionsContract,
):
    """All of it."""

    @pytest.fixture
    def store(self, stores: Stores) -> Store:
        return stores.store
