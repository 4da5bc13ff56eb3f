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
# The least that a process takes, most of it in the kernel: more of them than fit would end as a memory bomb.
MEMORY_PER_PROCESS = 192 << 10
# Groups that are used again: as many as small commands run at once, since each holds descriptors.
MAX_KEPT = 8


def setup(root: str, memory_total: int) -> str:
    """Prepare the group of all executions; its directory, or empty if there is no usable cgroup v2."""
    controllers = read(f"{root}/cgroup.controllers").split()
    wanted = [name for name in ("cpu", "memory", "pids") if name in controllers]
    path = f"{root}/{GROUP}"
    try:
        if "pids" not in wanted or "memory" not in wanted:
            return ""
        write(f"{root}/cgroup.subtree_control", " ".join(f"+{name}" for name in wanted))
        if not os.path.isdir(path):
            os.mkdir(path)
        write(f"{path}/cgroup.subtree_control", "+memory +pids")
        reserve = min(max(memory_total // 8, LEAST_RESERVE), MOST_RESERVE)
        # Not of the total, of which the kernel holds a part already: a limit above what is to be had is never
        # reached, and the machine spends its time reading programs from the disk over and over.
        limit = max(_available(memory_total) - reserve, reserve)
        write(f"{path}/memory.max", str(limit))
        most = min(int(read("/proc/sys/kernel/pid_max") or 4096), int(read("/proc/sys/kernel/threads-max")))
        write(f"{path}/pids.max", str(min(most * 9 // 10, limit // MEMORY_PER_PROCESS)))
    except (OSError, ValueError):
        return ""
    return path


def _available(otherwise: int) -> int:
    """Bytes of memory that programs can get, as the kernel estimates it (MemAvailable of proc(5))."""
    for line in read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return otherwise


class Cgroup:
    """The group of one execution, or of several without limits, one after the other.

    Raises OSError when it cannot be made.
    """

    def __init__(
        self, parent: str, name: str, memory_mib: int | None = None, processes: int | None = None
    ) -> None:
        self._root = parent.rsplit("/", 1)[0]
        self.path = f"{parent}/{name}"
        self._processes = processes
        self._starved = False
        self._kept: tuple[int, ...] = ()  # cgroup.events and memory.events, for a group that is used again
        os.mkdir(self.path)
        write(f"{self.path}/memory.oom.group", "1")
        if memory_mib is not None:
            write(f"{self.path}/memory.max", str(memory_mib << 20))
        if processes is not None:
            # One more while the agent itself is in here, to start the first process.
            write(f"{self.path}/pids.max", str(processes + 1))

    def keep(self) -> None:
        """It will be used again: hold its files open, since opening one costs more than reading it."""
        names = ("cgroup.events", "memory.events")
        self._kept = tuple(os.open(f"{self.path}/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in names)

    def enter(self) -> None:
        """Move the agent in: what it starts now is born inside, so nothing escapes in between."""
        write(f"{self.path}/cgroup.procs", "0")

    def leave(self) -> None:
        """Move the agent out again."""
        write(f"{self._root}/cgroup.procs", "0")
        if self._processes is not None:
            write(f"{self.path}/pids.max", str(self._processes))

    def kill(self) -> None:
        """SIGKILL every process inside, if any are left."""
        try:
            write(f"{self.path}/cgroup.kill", "1")
        except FileNotFoundError:
            return  # the group was removed, since it was empty

    def memory(self) -> int:
        """Bytes in use."""
        return int(read(f"{self.path}/memory.current") or 0)

    def starve(self) -> None:
        """Have the OOM killer end all inside: it comes when there is more in use than is allowed."""
        self._starved = True
        write(f"{self.path}/memory.max", "0")

    def oom_kills(self) -> int:
        """How many processes inside the kernel's OOM killer ended."""
        text = os.pread(self._kept[1], 4096, 0).decode() if self._kept else read(f"{self.path}/memory.events")
        return number(text, "oom_kill")

    @property
    def kept(self) -> bool:
        """Whether its files are held open."""
        return bool(self._kept)

    @property
    def clean(self) -> bool:
        """Whether the next execution may have it: it was to be kept, and has nothing left of the last one."""
        if self._starved or not self._kept or number(os.pread(self._kept[0], 4096, 0).decode(), "populated"):
            return False
        # Two links: nobody has made groups of their own inside.
        return self.oom_kills() == 0 and os.stat(self.path).st_nlink == 2

    def remove(self) -> bool:
        """Remove the group; False while processes are left inside."""
        for fd in self._kept:
            os.close(fd)
        self._kept = ()
        try:
            os.rmdir(self.path)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


class Groups:
    """Makes groups below `parent`; those without limits are used again.

    To make a group and have the kernel clear it away takes as long as starting a small program. Whoever is
    root in the guest could change such a group for those who come later, but also the one above, which holds
    them all.
    """

    def __init__(self, parent: str) -> None:
        self._parent = parent
        self._free: list[Cgroup] = []
        self._kept = 0
        self._serial = 0

    def take(self, memory_mib: int | None, processes: int | None) -> Cgroup | None:
        """A group for an execution with these limits; None where there are no groups. Raises OSError."""
        if not self._parent:
            return None
        limited = memory_mib is not None or processes is not None
        if self._free and not limited:
            return self._free.pop()
        self._serial += 1
        group = Cgroup(self._parent, f"x{self._serial}", memory_mib, processes)
        if not limited and self._kept < MAX_KEPT:
            group.keep()
            self._kept += 1
        return group

    def give_back(self, group: Cgroup) -> bool:
        """The execution has ended; False while processes are left inside: to be removed later."""
        if group.clean:
            self._free.append(group)
            return True
        return self.discard(group)

    def discard(self, group: Cgroup) -> bool:
        """Remove it; False while processes are left inside."""
        self._kept -= group.kept
        return group.remove()


def number(text: str, wanted: str) -> int:
    """The value of a line such as ``populated 1``; 0 without one."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == wanted:
            return int(value)
    return 0


def read(path: str) -> str:
    """The text of a file of the kernel's; empty if there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 4096).decode()
    finally:
        os.close(fd)


def write(path: str, text: str) -> None:
    """Give the kernel a value. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
