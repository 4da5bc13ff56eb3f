"""Values that travel between the host and a VM's guest agent, and where that agent is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from aetherium.domain.executions import ExecutionState


@dataclass(frozen=True, slots=True)
class UnixEndpoint:
    """A Unix socket.

    Args:
        path: socket on the host.
        exclusive: the far side serves one connection at a time (QEMU's chardev for a virtio-serial
            port): a lock beside the socket (``PATH.lock``, flock) is taken before connecting.
    """

    path: str
    exclusive: bool = False


@dataclass(frozen=True, slots=True)
class VsockEndpoint:
    """AF_VSOCK on the host: the guest's context id and port."""

    cid: int
    port: int


@dataclass(frozen=True, slots=True)
class HybridVsockEndpoint:
    """Firecracker's vsock: a Unix socket that takes ``CONNECT <port>\\n`` and answers ``OK <n>\\n``."""

    path: str
    port: int


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """TCP: the fallback. Not encrypted, so for loopback and private namespaces only."""

    host: str
    port: int


GuestEndpoint = UnixEndpoint | VsockEndpoint | HybridVsockEndpoint | TcpEndpoint


@dataclass(frozen=True, slots=True)
class GuestInfo:
    """What an agent says of itself at the handshake.

    Args:
        protocol: version of the guest protocol that both sides agreed on.
        agent: version of the agent.
        boot_id: changes with every boot of the guest's kernel, not with a restore.
        capabilities: optional features that this agent has in this guest ("cgroup", "pty", "watch" …).
    """

    protocol: int
    agent: str
    boot_id: str
    kernel: str
    capabilities: frozenset[str]


@dataclass(frozen=True, slots=True)
class GuestIdentity:
    """Who a VM is. Given before anything runs in it, and again after every restore or fork.

    Args:
        hostname: 1 to 63 characters.
        machine_id: 32 hex digits for /etc/machine-id.
        seed: fresh random bytes, at least 32, mixed and credited into the guest kernel's pool, which is
            then reseeded.
        time_ns: nanoseconds since the epoch at the moment of sending; the guest's clock is stepped to it.
    """

    hostname: str
    machine_id: str
    seed: bytes = field(repr=False)
    time_ns: int


class OutputStream(StrEnum):
    """Which output of an execution; a terminal has only stdout."""

    STDOUT = "stdout"
    STDERR = "stderr"


@dataclass(frozen=True, slots=True)
class OutputChunk:
    """A piece of output.

    Args:
        offset: position of data[0] in that stream since the execution began. A gap to the end of the
            chunk before means that the agent had to drop what nobody read (see output_limit).
    """

    stream: OutputStream
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ExecutionStatus:
    """An execution as the agent knows it now."""

    id: str
    state: ExecutionState
    pid: int | None
    stdout_bytes: int
    stderr_bytes: int


class FileKind(StrEnum):
    """Kind of a file system entry."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class FileStat:
    """One file system entry; symbolic links are not followed.

    Args:
        mode: permission bits, for example 0o644.
        mtime_ns: nanoseconds since the epoch.
        target: what a symbolic link points to; empty otherwise.
    """

    path: str
    kind: FileKind
    size: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    target: str = ""


@dataclass(frozen=True, slots=True)
class FileEvent:
    """A change under a watched path: ``created``, ``modified``, ``moved``, ``removed``, ``overflow``."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class GuestMetrics:
    """Live facts from inside: bytes, counts, seconds since boot.

    Args:
        cpu_user_s, cpu_system_s, cpu_idle_s: summed over all processors.
        disk_total, disk_free: of the root file system.
    """

    uptime_s: float
    cpu_user_s: float
    cpu_system_s: float
    cpu_idle_s: float
    memory_total: int
    memory_available: int
    disk_total: int
    disk_free: int
    processes: int
    load_1m: float
