"""The processes of a cluster under test: each can be killed, stopped, and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from aetherium.process import spawned
from tests.fixtures.proxy import TcpProxy
from tests.fixtures.waiting import eventually

_START_S = 60.0
_READY = "is ready: "


class Member:
    """One process of ``aetherium``. It reaches PostgreSQL and Redis only through proxies of its own, and
    gateways reach a worker through another one.

    Args:
        words: the command.
        data_dir: its data directory; its log lies beside it.
        settings: names of settings, and values as the environment has them.
    """

    def __init__(
        self,
        *words: str,
        data_dir: Path,
        settings: Mapping[str, str],
        database: TcpProxy,
        redis: TcpProxy,
        calls: TcpProxy,
    ) -> None:
        self.data_dir = data_dir
        self.database = database
        self.redis = redis
        self.calls = calls
        self._words = words
        self._settings = settings
        self._log = data_dir.with_suffix(".log")
        self._process: asyncio.subprocess.Process | None = None
        self._running = AsyncExitStack()
        self._offset = 0

    @property
    def name(self) -> str:
        """As its data directory is called."""
        return self.data_dir.name

    @property
    def alive(self) -> bool:
        """Whether it runs, or is stopped."""
        return self._process is not None and self._process.returncode is None

    @property
    def identity(self) -> str:
        """What it said of itself when it was ready: an orchestrator's holder, a worker's id."""
        said = self._output().partition(_READY)[2].partition("\n")[0]
        return said.partition(",")[0].rpartition(" ")[2]

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.data_dir.mkdir(mode=0o700, exist_ok=True)
        self._offset = self._log.stat().st_size if self._log.exists() else 0
        command = ["setpriv", "--pdeathsig=KILL", "--", sys.executable, "-m", "aetherium", *self._words]
        with self._log.open("ab") as log:
            self._process = await self._running.enter_async_context(
                spawned(command, stdout=log, stderr=log, cwd=self.data_dir, env=self._environment())
            )
        await eventually(self._ready, within_s=_START_S)

    async def kill(self) -> None:
        """SIGKILL, to it alone: its VMs go on."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self._running.aclose()

    def signal(self, number: signal.Signals) -> None:
        """Stop it, or let it go on."""
        assert self._process is not None
        self._process.send_signal(number)

    def complaints(self) -> str:
        """The last tracebacks in its log, and its end."""
        text = self._log.read_text(errors="replace")
        traces = text.split("Traceback (most recent call last)")[1:]
        return "\n".join([*(trace[-1500:] for trace in traces[-3:]), text[-1500:]])

    async def _ready(self) -> bool:
        assert self.alive, f"{self.name} has ended:\n{self._output()[-3000:]}"
        return _READY in self._output()

    def _output(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._offset)
            return log.read().decode(errors="replace")

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("AETHERIUM_")}
        own = {**self._settings, "data_dir": str(self.data_dir), "worker_name": self.name}
        return kept | {f"AETHERIUM_{name.upper()}": value for name, value in own.items()}
