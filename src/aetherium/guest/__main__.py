"""Entry point of the agent: ``python -m aetherium.guest --listen WHERE [--cgroup auto|none|DIRECTORY]``.

WHERE is ``unix:PATH``, ``tcp:HOST:PORT``, ``vsock:PORT`` or ``virtio:NAME_PREFIX``; it may be repeated.
"""

import os
import sys
from errno import EACCES

from aetherium.guest.agent import Agent
from aetherium.guest.launch import AGENT_OOM_SCORE, set_oom_score
from aetherium.guest.loop import READ, Loop
from aetherium.guest.signals import (
    SIGCHLD,
    SIGHUP,
    SIGINT,
    SIGKILL,
    SIGPIPE,
    SIGTERM,
    SIGUSR1,
    SIGUSR2,
    set_handler,
    set_wakeup_fd,
)

# No SIG_IGN: what is ignored stays ignored in every command; handlers do not outlive exec.
_ABSORBED = (SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE)
CGROUP_ROOT = "/sys/fs/cgroup"


def main(arguments: list[str] | None = None) -> int:
    """Run until told to end. Returns the exit code; as process 1 it does not return."""
    try:
        places, cgroup = _parse(sys.argv[1:] if arguments is None else arguments)
    except ValueError as error:
        sys.stderr.write(f"{error}\n{__doc__}")
        return 2
    init = os.getpid() == 1
    if init:
        from aetherium.guest.boot import prepare

        prepare()
    os.umask(0o022)
    _occupy_stdio()
    loop = Loop()
    memory = _memory_total()
    agent = Agent(loop, init=init, cgroup=_cgroup(cgroup, memory, init=init))
    agent.executions.budget.limit = max(agent.executions.budget.limit, memory // 8 if init else 64 << 20)
    set_oom_score(AGENT_OOM_SCORE)
    _handle_signals(loop, agent, init=init)
    try:
        for place in places:
            _listen(loop, agent, place)
    except OSError as error:
        sys.stderr.write(f"aetherium: cannot listen at {place}: {error}\n")
        return 1
    sys.stderr.write("aetherium: agent ready\n")
    loop.run()
    agent.executions.kill_all(SIGKILL)
    for place in places:
        _leave(place)
    return 0


def _parse(arguments: list[str]) -> tuple[list[str], str]:
    places: list[str] = []
    cgroup = "auto"
    rest = iter(arguments)
    for option in rest:
        value = next(rest, "")
        if option == "--listen" and value:
            places.append(value)
        elif option == "--cgroup" and value:
            cgroup = value
        else:
            raise ValueError(f"unknown or incomplete option {option!r}")
    if not places:
        raise ValueError("no place to listen at")
    return places, cgroup


def _occupy_stdio() -> None:
    """Descriptors 0 to 2 must be taken, or a pipe to a command could get one of these numbers."""
    while True:
        fd = os.open("/dev/null", os.O_RDWR)
        if fd > 2:
            os.close(fd)
            return


def _memory_total() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _cgroup(choice: str, memory: int, *, init: bool) -> str:
    """The directory for executions' control groups. An ordinary process uses one only if told which."""
    if choice == "none" or (choice == "auto" and not init):
        return ""
    from aetherium.guest.cgroups import setup

    return setup(CGROUP_ROOT if choice == "auto" else choice, memory)


def _handle_signals(loop: Loop, agent: Agent, *, init: bool) -> None:
    woken, waker = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(waker, False)

    def wake(_events: int) -> None:
        os.read(woken, 4096)
        agent.reap()

    def terminate(_number: int, _frame: object) -> None:
        if not init:
            loop.stop()

    for number in _ABSORBED:
        set_handler(number, lambda _number, _frame: None)
    set_handler(SIGCHLD, lambda _number, _frame: None)
    set_handler(SIGTERM, terminate)
    set_wakeup_fd(waker, warn_on_full_buffer=False)
    loop.watch(woken, READ, wake)
    agent.reap()


def _leave(place: str) -> None:
    kind, _, path = place.partition(":")
    if kind == "unix":
        from aetherium.guest.sockets import remove

        remove(path)


def _listen(loop: Loop, agent: Agent, place: str) -> None:
    kind, _, rest = place.partition(":")
    if kind == "virtio":
        from aetherium.guest.ports import open_ports

        open_ports(agent, rest)
    elif kind in ("unix", "tcp", "vsock"):
        from aetherium.guest.sockets import listen

        listen(loop, agent, kind, rest)
    else:
        raise OSError(EACCES, f"unknown transport {kind!r}; use unix, tcp, vsock or virtio")


if __name__ == "__main__":
    sys.exit(main())
