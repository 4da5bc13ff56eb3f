"""Control groups (v2) of executions: what they may use, and a way to kill all that they started.

``ROOT/aetherium`` holds all executions and is limited to a little less than the machine has, so that a memory
bomb or fork bomb ends and the agent, which stays in the root group, lives. Source: Documentation/admin-guide/
cgroup-v2.rst of the Linux kernel.
"""

import os

GROUP = "aetherium"
# What is kept for the kernel and the agent: an eighth of the memory, within these bounds.
LEAST_RESERVE = 24 << 20
MOST_RESERVE = 256 << 20


def setup(root: str, memory_total: int) -> str:
    """Prepare the group of all executions; its directory, or empty if there is no usable cgroup v2."""
    controllers = _read(f"{root}/cgroup.controllers").split()
    wanted = [name for name in ("cpu", "memory", "pids") if name in controllers]
    path = f"{root}/{GROUP}"
    try:
        if "pids" not in wanted or "memory" not in wanted:
            return ""
        _write(f"{root}/cgroup.subtree_control", " ".join(f"+{name}" for name in wanted))
        if not os.path.isdir(path):
            os.mkdir(path)
        _write(f"{path}/cgroup.subtree_control", "+memory +pids")
        reserve = min(max(memory_total // 8, LEAST_RESERVE), MOST_RESERVE)
        _write(f"{path}/memory.max", str(max(memory_total - reserve, reserve)))
        most = min(int(_read("/proc/sys/kernel/pid_max") or 4096), int(_read("/proc/sys/kernel/threads-max")))
        _write(f"{path}/pids.max", str(most * 9 // 10))
    except (OSError, ValueError):
        return ""
    return path


class Cgroup:
    """The group of one execution.

    Raises OSError when it cannot be made.
    """

    def __init__(self, parent: str, name: str, memory_mib: int | None, processes: int | None) -> None:
        self._root = parent.rsplit("/", 1)[0]
        self.path = f"{parent}/{name}"
        self._processes = processes
        os.mkdir(self.path)
        _write(f"{self.path}/memory.oom.group", "1")
        if memory_mib is not None:
            _write(f"{self.path}/memory.max", str(memory_mib << 20))
        if processes is not None:
            # One more while the agent itself is in here, to start the first process.
            _write(f"{self.path}/pids.max", str(processes + 1))

    def enter(self) -> None:
        """Move the agent in: what it starts now is born inside, so nothing escapes in between."""
        _write(f"{self.path}/cgroup.procs", "0")

    def leave(self) -> None:
        """Move the agent out again."""
        _write(f"{self._root}/cgroup.procs", "0")
        if self._processes is not None:
            _write(f"{self.path}/pids.max", str(self._processes))

    def kill(self) -> None:
        """SIGKILL every process inside."""
        _write(f"{self.path}/cgroup.kill", "1")

    def oom_kills(self) -> int:
        """How many processes inside the kernel's OOM killer ended."""
        for line in _read(f"{self.path}/memory.events").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
        return 0

    def remove(self) -> bool:
        """Remove the group; False while processes are left inside."""
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


def _read(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 4096).decode()
    finally:
        os.close(fd)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
