"""From a spec to a running process: user, descriptors, terminal, limits, control group."""

import os
from errno import EINVAL

from aetherium.guest.cgroups import Cgroup, Groups
from aetherium.guest.spawn import User, environment, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_UMASK = 0o022


class Launched:
    """A process that was started, and our ends of its descriptors (-1: none)."""

    __slots__ = ("cgroup", "pid", "stderr", "stdin", "stdout", "terminal")

    def __init__(self) -> None:
        self.pid = 0
        self.stdin = self.stdout = self.stderr = self.terminal = -1
        self.cgroup: Cgroup | None = None

    def close(self) -> None:
        """Nothing came of it."""
        for fd in {self.stdin, self.stdout, self.stderr} - {-1}:
            os.close(fd)


def launch(spec: "dict[str, Any]", groups: Groups) -> Launched:
    """Start what `spec` says. Raises OSError with errno and file name when that cannot be done."""
    user = _user(spec["user"])
    terminal = spec["terminal"]
    env = environment(user, spec["env"], terminal=terminal is not None)
    cwd = spec["cwd"] or (user.home if os.path.isdir(user.home) else "/")
    umask = DEFAULT_UMASK if spec["umask"] is None else spec["umask"]
    launched = Launched()
    theirs: list[int] = []
    try:
        launched.cgroup = groups.take(spec["limits"].get("memory_mib"), spec["limits"].get("processes"))
        stdio = _descriptors(launched, theirs, user, terminal, stdin=spec["stdin"])
        acquire = _acquire_terminal if terminal else None
        with _Confined(launched.cgroup, spec["limits"]) as confined:
            launched.pid = spawn(spec["argv"], env, cwd, user, umask, stdio, confined.failure, acquire)
            confined.started(launched.pid)
    except BaseException:
        launched.close()
        if launched.cgroup is not None:
            groups.discard(launched.cgroup)
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    return launched


def _user(wanted: str | None) -> User:
    from aetherium.guest.users import lookup

    return lookup(wanted)


def _descriptors(
    launched: Launched, theirs: list[int], user: User, terminal: "list[int] | None", *, stdin: bool
) -> tuple[int, int, int]:
    """Open what becomes 0, 1 and 2 of the process; `theirs` are to be closed once it runs."""
    if terminal is not None:
        ours, slave = os.openpty()
        theirs.append(slave)
        launched.terminal = launched.stdout = launched.stdin = ours
        set_size(ours, int(terminal[0]), int(terminal[1]))
        if user.uid is not None:
            os.fchown(slave, user.uid, -1)
        return slave, slave, slave
    if stdin:
        read, launched.stdin = os.pipe()
    else:
        read = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    theirs.append(read)
    launched.stdout, out = os.pipe()
    theirs.append(out)
    launched.stderr, err = os.pipe()
    theirs.append(err)
    return read, out, err


def _acquire_terminal() -> None:
    """In the child: make stdin, a terminal, the controlling terminal of the new session."""
    from fcntl import ioctl

    tiocsctty = 0x540E
    ioctl(0, tiocsctty, 0)


def set_size(fd: int, rows: int, columns: int) -> None:
    """Set the size of a terminal. Raises OSError (EINVAL) outside 1 to 65535."""
    from fcntl import ioctl
    from struct import pack

    if not (0 < rows < 65536 and 0 < columns < 65536):
        raise OSError(EINVAL, f"a terminal cannot have {rows} rows and {columns} columns")
    tiocswinsz = 0x5414
    ioctl(fd, tiocswinsz, pack("HHHH", rows, columns, 0, 0))


class _Confined:
    """While a process is born, the agent takes on what it is to inherit: control group, OOM score, limits."""

    def __init__(self, cgroup: Cgroup | None, limits: "dict[str, Any]") -> None:
        self._cgroup = cgroup
        self._limits = limits
        self._saved: list[tuple[int, tuple[int, int]]] = []
        self._lowered: list[tuple[int, int, int]] = []  # kind, soft, hard
        self.failure = (-1, -1)  # a pipe for spawn: once the limits are lowered, none can be made

    def __enter__(self) -> "_Confined":
        self.failure = os.pipe()
        try:
            if self._cgroup is not None:
                self._cgroup.enter()
            set_oom_score(0)
            self._lower()
        except BaseException:
            self._restore()
            for fd in self.failure:
                os.close(fd)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def started(self, pid: int) -> None:
        """Make the limits firm. Processor time is only set now: the agent may have used more already."""
        wanted = list(self._lowered)
        cpu_s = self._limits.get("cpu_s")
        if cpu_s is not None:
            from resource import RLIMIT_CPU

            wanted.append((RLIMIT_CPU, cpu_s, cpu_s + 1))
        if not wanted:
            return
        from resource import prlimit

        for kind, soft, hard in wanted:
            try:
                prlimit(pid, kind, (soft, hard))
            except (ProcessLookupError, PermissionError):
                return  # it has ended, or is another user's and the agent lacks the right: soft ones hold

    def _lower(self) -> None:
        """Soft limits only: who is not almighty could not raise hard ones again."""
        open_files = self._limits.get("open_files")
        file_size = self._limits.get("file_size_mib")
        if open_files is None and file_size is None:
            return
        from resource import RLIM_INFINITY, RLIMIT_FSIZE, RLIMIT_NOFILE, getrlimit, setrlimit

        # Below 16 open files the process could not even be started.
        wanted = [] if open_files is None else [(RLIMIT_NOFILE, max(16, open_files))]
        wanted += [] if file_size is None else [(RLIMIT_FSIZE, file_size << 20)]
        for kind, value in wanted:
            before = getrlimit(kind)
            value = value if before[1] == RLIM_INFINITY else min(value, before[1])
            setrlimit(kind, (value, before[1]))
            self._saved.append((kind, before))
            self._lowered.append((kind, value, value))

    def _restore(self) -> None:
        if self._saved:
            from resource import setrlimit

            for kind, value in self._saved:
                setrlimit(kind, value)
        set_oom_score(AGENT_OOM_SCORE)
        if self._cgroup is not None:
            self._cgroup.leave()


AGENT_OOM_SCORE = -1000


def set_oom_score(score: int) -> None:
    """Tell the OOM killer about the agent. Without the right to (not root), it stays as it is."""
    if os.getpid() == 1:
        return  # the kernel spares process 1, and its children begin with 0
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(fd, str(score).encode())
    except PermissionError:
        return  # only root may lower it; then it was never raised above either
    finally:
        os.close(fd)
