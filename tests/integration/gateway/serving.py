"""A gateway as a process of its own, over the fake driver: ``-m tests.integration.gateway.serving DIR S``.
It writes a line when it listens, and serves until it is ended."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from aetherium.gateway import protocols, streams
from aetherium.gateway.server import serve_platform
from tests.fixtures.platform import fake_platform


async def serve(data_dir: Path, deadline_s: float) -> None:
    """Serve with these deadlines for clients that do not read, or do not say what they want."""
    streams.SEND_S = protocols.HEAD_S = deadline_s
    async with (
        fake_platform(data_dir, background=True, listen="") as platform,
        serve_platform(platform, data_dir / "s", grace_s=1.0),
    ):
        os.write(1, b"listening\n")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2])))
