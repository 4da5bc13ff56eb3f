"""Starting a process cheaply: vfork through the C function under `subprocess`, without that module."""

import os
from _posixsubprocess import fork_exec
from errno import EIO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class User:
    """Who runs a command: numeric ids (None: as the agent), home and shell."""

    __slots__ = ("gid", "groups", "home", "name", "shell", "uid")

    def __init__(
        self,
        name: str = "root",
        uid: int | None = None,
        gid: int | None = None,
        groups: list[int] | None = None,
        home: str = "/root",
        shell: str = "/bin/sh",
    ) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home
        self.shell = shell


def environment(user: User, extra: dict[str, str], *, terminal: bool) -> dict[str, str]:
    """The default environment of a command, with `extra` on top."""
    env = {
        "PATH": DEFAULT_PATH,
        "HOME": user.home,
        "USER": user.name,
        "LOGNAME": user.name,
        "SHELL": user.shell,
        "LANG": "C.UTF-8",
    }
    if terminal:
        env["TERM"] = "xterm-256color"
    env.update(extra)
    return env


def spawn(
    argv: list[str],
    env: dict[str, str],
    cwd: str,
    user: User,
    umask: int,
    stdio: tuple[int, int, int],
    failure: tuple[int, int],
    before_exec: "Callable[[], None] | None" = None,
) -> int:
    """Start `argv` in a session of its own and return its pid.

    Args:
        stdio: descriptors for 0, 1 and 2.
        failure: both ends of a pipe, which is closed afterwards.
        before_exec: called in the child; forces a fork (slow), so for terminals only.

    Raises:
        OSError: the command cannot be started: errno and file name say why.
    """
    failed_read, failed_write = failure
    try:
        try:
            with _Becoming(user):
                pid = fork_exec(
                    [os.fsencode(word) for word in argv],
                    _candidates(argv[0], env),
                    True,  # close all descriptors but these
                    (failed_write,),
                    cwd,
                    [os.fsencode(f"{key}={value}") for key, value in env.items()],
                    stdio[0],
                    -1,
                    -1,
                    stdio[1],
                    -1,
                    stdio[2],
                    failed_read,
                    failed_write,
                    True,  # default signal dispositions
                    True,  # setsid
                    -1,
                    None,
                    None,
                    None,
                    umask,
                    before_exec,  # type: ignore[arg-type]  # None is what subprocess passes, too
                    True,  # vfork where possible
                )
        finally:
            os.close(failed_write)
        report = os.read(failed_read, 4096)
    finally:
        os.close(failed_read)
    if report:
        os.waitpid(pid, 0)
        raise _error(report, argv[0], cwd)
    return pid


class _Becoming:
    """The agent takes on a user's ids for a moment, and what is born then has them.

    Letting the child change its ids would mean a fork instead of a vfork: with the page tables of a Python
    process, 40 ms under emulation. The saved user id stays root's, which is the way back; execve replaces it.
    """

    def __init__(self, user: User) -> None:
        self._user = user
        self._groups: list[int] | None = None

    def __enter__(self) -> None:
        user = self._user
        if user.uid is None or user.gid is None:
            return
        try:
            if user.groups is not None:
                self._groups = os.getgroups()
                os.setgroups(user.groups)
            os.setresgid(user.gid, user.gid, -1)
            os.setresuid(user.uid, user.uid, -1)
        except OSError:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self._user.uid is None or self._user.gid is None:
            return
        uid, gid = os.getresuid()[2], os.getresgid()[2]
        os.setresuid(uid, uid, -1)
        os.setresgid(gid, gid, -1)
        if self._groups is not None:
            os.setgroups(self._groups)


def _candidates(program: str, env: dict[str, str]) -> tuple[bytes, ...]:
    """Where the program may be, in the order of PATH."""
    if "/" in program:
        return (os.fsencode(program),)
    path = env.get("PATH", DEFAULT_PATH)
    return tuple(os.fsencode(f"{part or '.'}/{program}") for part in path.split(":"))


def _error(report: bytes, program: str, cwd: str) -> OSError:
    """What the child wrote before it gave up: ``OSError:<errno in hex>:noexec`` if it was before execve."""
    parts = report.split(b":", 2)
    number = int(parts[1], 16) if len(parts) == 3 and parts[1] else 0
    if len(parts) == 3 and parts[2] == b"noexec":
        return OSError(number, os.strerror(number), cwd)
    if number == 0:
        return OSError(EIO, report.decode("utf-8", "replace"))
    return OSError(number, os.strerror(number), program)
