"""Virtio-serial ports of the agent, found by name."""

import os
from errno import ENODEV

from aetherium.guest.agent import Agent, read_text

PORTS = "/sys/class/virtio-ports"


def open_ports(agent: Agent, prefix: str) -> None:
    """Serve every port whose name begins with `prefix`. Raises OSError (ENODEV) when there is none."""
    found = 0
    for device in sorted(os.listdir(PORTS)) if os.path.isdir(PORTS) else []:
        if read_text(f"{PORTS}/{device}/name").startswith(prefix):
            agent.add(os.open(f"/dev/{device}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC), port=True)
            found += 1
    if not found:
        raise OSError(ENODEV, f"there is no virtio port named {prefix}…")
