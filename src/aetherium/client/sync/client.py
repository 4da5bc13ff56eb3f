"""The client itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from aetherium.client.aio import AsyncClient
from aetherium.client.members import WhoAmI
from aetherium.client.retries import DEFAULT, RetryPolicy
from aetherium.client.sync.api_keys import APIKeys
from aetherium.client.sync.audit import Audit
from aetherium.client.sync.dead_letters import DeadLetters
from aetherium.client.sync.events import Events
from aetherium.client.sync.executions import Executions
from aetherium.client.sync.files import Files
from aetherium.client.sync.images import Images
from aetherium.client.sync.jobs import Jobs
from aetherium.client.sync.loop import Loop
from aetherium.client.sync.members import Members
from aetherium.client.sync.projects import Projects
from aetherium.client.sync.queues import Queues
from aetherium.client.sync.schedules import Schedules
from aetherium.client.sync.secrets import Secrets
from aetherium.client.sync.snapshots import Snapshots
from aetherium.client.sync.tasks import Tasks
from aetherium.client.sync.uploads import Uploads
from aetherium.client.sync.vms import VMs
from aetherium.client.sync.workers import Workers
from aetherium.domain.checks import Check


class Client:
    """Everything that a gateway offers. Use it as a context manager, or call `close`.

    Args:
        make: the client that does the work.
    """

    def __init__(self, make: Callable[[], AsyncClient]) -> None:
        self._loop = Loop()
        self._client = self._loop.run(_made(make))
        self.vms = VMs(self._client, self._loop)
        self.executions = Executions(self._client, self._loop)
        self.files = Files(self._client, self._loop)
        self.images = Images(self._client, self._loop)
        self.snapshots = Snapshots(self._client, self._loop)
        self.jobs = Jobs(self._client, self._loop)
        self.uploads = Uploads(self._client, self._loop)
        self.tasks = Tasks(self._client, self._loop)
        self.dead_letters = DeadLetters(self._client, self._loop)
        self.schedules = Schedules(self._client, self._loop)
        self.queues = Queues(self._client, self._loop)
        self.workers = Workers(self._client, self._loop)
        self.projects = Projects(self._client, self._loop)
        self.api_keys = APIKeys(self._client, self._loop)
        self.members = Members(self._client, self._loop)
        self.secrets = Secrets(self._client, self._loop)
        self.events = Events(self._client, self._loop)
        self.audit = Audit(self._client, self._loop)

    @classmethod
    def unix(cls, socket: Path | str, *, project: str = "", retry: RetryPolicy | None = DEFAULT) -> Client:
        """See AsyncClient."""
        return cls(lambda: AsyncClient.unix(socket, project=project, retry=retry))

    @classmethod
    def http(
        cls,
        url: str,
        *,
        api_key: str,
        project: str = "",
        ca: Path | None = None,
        retry: RetryPolicy | None = DEFAULT,
    ) -> Client:
        """See AsyncClient."""
        return cls(lambda: AsyncClient.http(url, api_key=api_key, project=project, ca=ca, retry=retry))

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections and end the thread."""
        self._loop.run(self._client.close())
        self._loop.close()

    def health(self) -> dict[str, Any]:
        """``status``, ``version`` and ``pid`` of the gateway."""
        return self._loop.run(self._client.health())

    def whoami(self) -> WhoAmI:
        """Who one is to the gateway."""
        return self._loop.run(self._client.whoami())

    def doctor(self) -> list[Check]:
        """What works on the gateway's host."""
        return self._loop.run(self._client.doctor())


async def _made(make: Callable[[], AsyncClient]) -> AsyncClient:
    return make()
