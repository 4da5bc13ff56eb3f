"""Listening sockets of the agent. The `socket` module would cost more than the rest of the agent."""

import _socket
import os
from errno import EAGAIN, ECONNABORTED, EEXIST, EINVAL, EMFILE, ENFILE

from aetherium.guest.agent import Agent
from aetherium.guest.loop import READ, Loop

AF_VSOCK = 40
VMADDR_CID_ANY = 0xFFFFFFFF
BACKLOG = 128


def listen(loop: Loop, agent: Agent, kind: str, where: str) -> None:
    """Accept clients at ``unix`` PATH, ``tcp`` HOST:PORT or ``vsock`` PORT. Raises OSError."""
    if kind == "unix":
        listener = _unix(where)
    elif kind == "vsock":
        listener = _socket.socket(AF_VSOCK, _socket.SOCK_STREAM)
        listener.bind((VMADDR_CID_ANY, _port(where, 1 << 32)))
    else:
        host, _, port = where.rpartition(":")
        listener = _socket.socket(_socket.AF_INET6 if ":" in host else _socket.AF_INET, _socket.SOCK_STREAM)
        listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), _port(port, 1 << 16)))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    fd = listener.detach()

    def accept(_events: int) -> None:
        peer = _accept(fd, kind)
        if peer >= 0:
            agent.add(peer, port=False)

    loop.watch(fd, READ, accept)


def _unix(path: str) -> _socket.socket:
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    directory, _, name = path.rpartition("/")
    remove(path)
    # A socket's name has at most 107 bytes; a directory descriptor makes every path short.
    at = os.open(directory or ("/" if path.startswith("/") else "."), os.O_PATH | os.O_DIRECTORY)
    umask = os.umask(0o177)
    try:
        listener.bind(f"/proc/self/fd/{at}/{name}")
    finally:
        os.umask(umask)
        os.close(at)
    return listener


def remove(path: str) -> None:
    """Remove the socket at `path`, if there is one. Raises OSError (EEXIST) when it is something else."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if mode & 0o170000 != 0o140000:  # S_IFMT, S_IFSOCK
        raise OSError(EEXIST, "there is something else than a socket", path)
    os.unlink(path)


def _accept(fd: int, kind: str) -> int:
    """A client's descriptor, or -1 when none is there after all."""
    listener = _socket.socket(fileno=os.dup(fd))
    try:
        peer, _ = listener._accept()  # type: ignore[attr-defined]  # what socket.accept is made of
    except OSError as error:
        if error.errno in (EAGAIN, ECONNABORTED, EMFILE, ENFILE):
            return -1
        raise
    finally:
        listener.close()
    os.set_inheritable(peer, False)
    if kind == "tcp":
        client = _socket.socket(fileno=peer)
        client.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        client.detach()
    return int(peer)


def _port(text: str, above: int) -> int:
    if not text.isdigit() or int(text) >= above:
        raise OSError(EINVAL, f"{text!r} is no port")
    return int(text)
