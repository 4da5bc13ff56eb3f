"""The asynchronous client."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from aetherium.client import values
from aetherium.client.api_keys import APIKeys
from aetherium.client.audit import Audit
from aetherium.client.dead_letters import DeadLetters
from aetherium.client.events import Events
from aetherium.client.executions import Executions
from aetherium.client.files import Files
from aetherium.client.gateways import Gateway
from aetherium.client.images import Images
from aetherium.client.jobs import Jobs
from aetherium.client.members import Members, WhoAmI
from aetherium.client.projects import Projects
from aetherium.client.queues import Queues
from aetherium.client.retries import DEFAULT, RetryPolicy
from aetherium.client.schedules import Schedules
from aetherium.client.secrets import Secrets
from aetherium.client.snapshots import Snapshots
from aetherium.client.tasks import Tasks
from aetherium.client.transport import Transport
from aetherium.client.uploads import Uploads
from aetherium.client.vms import VMs
from aetherium.client.workers import Workers
from aetherium.domain.checks import Check


class AsyncClient:
    """Everything that a gateway offers. Use it as an async context manager, or call `close`.

    Raises, from every call: Unavailable when nothing listens, ChannelClosed when the connection is cut in the
    middle, and whatever error the gateway answers with.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.vms = VMs(transport)
        self.executions = Executions(transport)
        self.files = Files(transport)
        self.images = Images(transport)
        self.snapshots = Snapshots(transport)
        self.jobs = Jobs(transport)
        self.uploads = Uploads(transport)
        self.tasks = Tasks(transport)
        self.dead_letters = DeadLetters(transport)
        self.schedules = Schedules(transport)
        self.queues = Queues(transport)
        self.workers = Workers(transport)
        self.projects = Projects(transport)
        self.api_keys = APIKeys(transport)
        self.members = Members(transport)
        self.secrets = Secrets(transport)
        self.events = Events(transport)
        self.audit = Audit(transport)

    @classmethod
    def unix(
        cls, socket: Path | str, *, project: str = "", retry: RetryPolicy | None = DEFAULT
    ) -> AsyncClient:
        """A client of the gateway that listens at this Unix socket.

        Args:
            project: id or name; empty: all of them.
            retry: how what may be is tried again after an error that may pass; None: it is not.
        """
        return cls(Transport(Gateway(Path(socket), project=project), retry=retry))

    @classmethod
    def http(
        cls,
        url: str,
        *,
        api_key: str,
        project: str = "",
        ca: Path | None = None,
        retry: RetryPolicy | None = DEFAULT,
    ) -> AsyncClient:
        """A client of the gateway at this address.

        Args:
            api_key: or a token of the identity provider.
            project: id or name; empty: the only one that it can be.
            ca: file with an authority that certifies it, beside those that the host trusts.
            retry: as for `unix`.

        Raises InvalidInput.
        """
        return cls(Transport(Gateway(None, url, api_key, project, ca), retry=retry))

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def health(self) -> dict[str, Any]:
        """``status``, ``version`` and ``pid`` of the gateway. It is asked once: whoever wants to know whether
        it is there wants to know it now."""
        found: dict[str, Any] = await self._transport.call("GET", "/healthz", once=True)
        return found

    async def whoami(self) -> WhoAmI:
        """Who one is to the gateway."""
        return values.load(WhoAmI, await self._transport.call("GET", "/v1/whoami"))

    async def doctor(self) -> list[Check]:
        """What works on the gateway's host, what does not, and what to do about it."""
        return values.load_all(Check, await self._transport.call("GET", "/v1/doctor"))
