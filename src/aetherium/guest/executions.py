"""All executions of this agent, and the requests about them."""

from errno import EEXIST, EINVAL, EMFILE, ENOENT

from aetherium.guest.attachment import Attachment
from aetherium.guest.cgroups import Cgroup, Groups
from aetherium.guest.connection import Stream
from aetherium.guest.execution import Execution
from aetherium.guest.launch import launch
from aetherium.guest.loop import Loop
from aetherium.guest.output import Budget
from aetherium.guest.pressure import Guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from resource import struct_rusage
    from typing import Any

# More than this many that have ended are not remembered: the oldest goes when one more ends.
MAX_ENDED = 512
MAX_RUNNING = 4096
LEAST_BUDGET = 16 << 20
SWEEP_S = 10.0
MAX_TOKEN = 64
MAX_TIMEOUT_S = 1e9


class ExecutionTable:
    """Executions by their id.

    Args:
        cgroup: the directory below which each execution gets a control group; empty: none.
    """

    def __init__(self, loop: Loop, cgroup: str) -> None:
        self._loop = loop
        self._all: dict[str, Execution] = {}
        self._running: dict[int, Execution] = {}
        self._ended: dict[str, Execution] = {}
        self._unswept: list[Cgroup] = []
        self._groups = Groups(cgroup)
        self.cgroup = cgroup
        self.budget = Budget(LEAST_BUDGET)
        if cgroup:
            Guard(loop, cgroup, self._used_groups)

    def _used_groups(self) -> "Iterator[Cgroup]":
        return (each.cgroup for each in self._running.values() if each.cgroup is not None)

    # -- requests

    def start(self, stream: Stream, params: "dict[str, Any]") -> None:
        """exec.start"""
        execution = self._get_or_launch(params)
        if execution.result is not None and execution.result["state"] == "failed":
            stream.fail(execution.result["errno"] or "EIO", execution.result["error"])
        else:
            stream.respond({"pid": execution.pid})

    def run(self, stream: Stream, params: "dict[str, Any]") -> None:
        """exec.run"""
        (stdout, stderr, token), first = _place(params), params["input"]
        if type(first) is not bytes:
            raise TypeError("input")
        execution = self._get_or_launch(params)
        if first and not execution.stdin.taken(token):
            execution.stdin.write(token, first, None)
        if params["eof"]:
            execution.stdin.finish()
        self._answer(stream, Attachment(execution, stdout, stderr, token))

    def attach(self, stream: Stream, params: "dict[str, Any]") -> None:
        """exec.attach"""
        self._answer(stream, Attachment(self._get(params), *_place(params)))

    def signal(self, stream: Stream, params: "dict[str, Any]") -> None:
        """exec.signal"""
        self._get(params).signal(int(params["signal"]))
        stream.respond({})

    def kill(self, stream: Stream, params: "dict[str, Any]") -> None:
        """exec.kill"""
        self._get(params).kill()
        stream.respond({})

    def resize(self, stream: Stream, params: "dict[str, Any]") -> None:
        """exec.resize"""
        self._get(params).resize(int(params["rows"]), int(params["columns"]))
        stream.respond({})

    def list(self, stream: Stream) -> None:
        """exec.list"""
        from aetherium.guest.batches import Batches

        stream.answer(Batches(execution.status() for execution in tuple(self._all.values())))
        stream.wake()

    def forget(self, stream: Stream, params: "dict[str, Any]") -> None:
        """exec.forget"""
        execution = self._get(params)
        if execution.result is None:
            raise OSError(EEXIST, f"the execution {execution.id!r} has not ended")
        self._forget(execution)
        stream.respond({})

    # -- processes

    def ended(self, pid: int, status: int, usage: "struct_rusage") -> None:
        """A child was reaped; orphans of others mean nothing."""
        execution = self._running.pop(pid, None)
        if execution is None:
            return
        execution.reaped(status, usage)
        self._remember(execution)

    def kill_all(self, number: int) -> None:
        """Signal every running execution."""
        for execution in tuple(self._running.values()):
            if number == 9:
                execution.kill()
            else:
                execution.signal(number)

    def running(self) -> int:
        """How many have not ended."""
        return len(self._running)

    # -- the table

    def _get(self, params: "dict[str, Any]") -> Execution:
        name = params["id"]
        if name not in self._all:
            raise OSError(ENOENT, f"there is no execution {name!r}")
        return self._all[name]

    def _get_or_launch(self, params: "dict[str, Any]") -> Execution:
        name, spec = params["id"], params["spec"]
        if type(name) is not str or not 0 < len(name) <= 200:
            raise OSError(EINVAL, "an execution's id has 1 to 200 characters")
        if name in self._all:
            return self._all[name]
        if len(self._running) >= MAX_RUNNING:
            raise OSError(EMFILE, f"more than {MAX_RUNNING} executions are running")
        _check(spec)
        execution = Execution(self._loop, name, self.budget, spec["output_limit"])
        try:
            launched = launch(spec, self._groups)
        except OSError as error:
            execution.failed(error)
            self._remember(execution)
        else:
            execution.began(launched, spec["timeout"])
            self._running[execution.pid] = execution
        self._all[name] = execution
        return execution

    def _answer(self, stream: Stream, attachment: Attachment) -> None:
        stream.answer(attachment)
        attachment.begin()
        stream.wake()

    def _remember(self, execution: Execution) -> None:
        """It has ended: keep it until it is forgotten, or until too many have."""
        self._ended[execution.id] = execution
        if len(self._ended) > MAX_ENDED:
            self._forget(next(iter(self._ended.values())))
        if self.budget.used > self.budget.limit:
            self._shed()
        occupied = execution.vacate(self._groups)
        if occupied is not None:
            self._sweep_later(occupied)

    def _shed(self) -> None:
        """Kept output fills its budget: the oldest ended executions that nobody follows give theirs up."""
        for execution in tuple(self._ended.values()):
            if self.budget.used <= self.budget.limit // 2:
                return
            if not execution.attachments and execution.result is not None:
                execution.shed()

    def _forget(self, execution: Execution) -> None:
        execution.forget()
        self._ended.pop(execution.id, None)
        self._all.pop(execution.id, None)

    def _sweep_later(self, group: Cgroup) -> None:
        if not self._unswept:
            self._loop.later(SWEEP_S, self._sweep)
        self._unswept.append(group)

    def _sweep(self) -> None:
        """Control groups in which something lived on may be empty by now."""
        self._unswept = [each for each in self._unswept if not each.remove()]
        if self._unswept:
            self._loop.later(SWEEP_S, self._sweep)


def _place(params: "dict[str, Any]") -> tuple[int, int, bytes]:
    """Where a client is: offsets in stdout and stderr, and its name. Raises TypeError or KeyError."""
    stdout, stderr, token = params["stdout"], params["stderr"], params["token"]
    if (
        type(stdout) is not int
        or type(stderr) is not int
        or type(token) is not bytes
        or len(token) > MAX_TOKEN
    ):
        raise TypeError("stdout, stderr or token")
    return stdout, stderr, token


def _check(spec: "dict[str, Any]") -> None:
    """Refuse a spec of a wrong shape before anything is started. Raises TypeError, ValueError or KeyError."""
    argv, env, limits = spec["argv"], spec["env"], spec["limits"]
    if not argv or type(argv) is not list or not all(type(word) is str for word in argv):
        raise TypeError("argv is no list of strings")
    if type(env) is not dict or not all(type(value) is str for value in env.values()):
        raise TypeError("env is no map of strings")
    if type(limits) is not dict or not all(
        type(v) is int and v > 0 for v in limits.values() if v is not None
    ):
        raise TypeError("limits are no map of counts")
    if any("\0" in text for text in (*argv, *env, *env.values(), spec["cwd"] or "")):
        raise ValueError("embedded null byte")
    if not 0 <= int(spec["output_limit"]) <= 1 << 40:
        raise ValueError("output_limit")
    for key, kind in (("cwd", str), ("user", str), ("umask", int), ("timeout", float), ("terminal", list)):
        if spec[key] is not None and type(spec[key]) is not kind:
            raise TypeError(key)
    if type(spec["stdin"]) is not bool:
        raise TypeError("stdin")
    if spec["timeout"] is not None and not 0 < spec["timeout"] <= MAX_TIMEOUT_S:
        raise ValueError("timeout")
