"""The machine around the agent: metrics, identity, power."""

import os
import time
from errno import EINVAL, EPERM
from fcntl import ioctl
from struct import pack as struct_pack

from aetherium.guest.agent import Agent, read_text
from aetherium.guest.connection import Stream
from aetherium.guest.signals import SIGKILL, SIGTERM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# random(4), linux/random.h
RNDADDENTROPY = 0x40085203
RNDRESEEDCRNG = 0x5207
LEAST_SEED = 32
STOP_GRACE_S = 2.0
STOP_CHECK_S = 0.01
RB_POWER_OFF = 0x4321FEDC


def metrics(_agent: Agent, stream: Stream, _params: "dict[str, Any]") -> None:
    """metrics"""
    ticks = os.sysconf("SC_CLK_TCK")
    cpu = [int(field) / ticks for field in read_text("/proc/stat").split("\n", 1)[0].split()[1:]]
    load = read_text("/proc/loadavg").split()
    disk = os.statvfs("/")
    memory = _meminfo()
    stream.respond(
        {
            "uptime_s": float(read_text("/proc/uptime").split()[0]),
            "cpu_user_s": cpu[0] + cpu[1],
            "cpu_system_s": cpu[2] + cpu[5] + cpu[6],
            "cpu_idle_s": cpu[3] + cpu[4],
            "memory_total": memory["MemTotal"],
            "memory_available": memory["MemAvailable"],
            "disk_total": disk.f_blocks * disk.f_frsize,
            "disk_free": disk.f_bavail * disk.f_frsize,
            "processes": int(load[3].partition("/")[2]),
            "load_1m": float(load[0]),
        }
    )


def _meminfo() -> dict[str, int]:
    found = {}
    for line in read_text("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) * 1024
    return found


def identify(agent: Agent, stream: Stream, params: "dict[str, Any]") -> None:
    """identify"""
    if not agent.init:
        raise OSError(EPERM, "this agent is not alone in its machine and leaves its identity alone")
    hostname, machine_id = params["hostname"], params["machine_id"]
    seed, now = params["seed"], params["time_ns"]
    if not 0 < len(hostname) < 64 or not all(c.isalnum() or c in "-._" for c in hostname):
        raise OSError(EINVAL, f"{hostname!r} is no host name")
    if len(machine_id) != 32 or not set(machine_id) <= set("0123456789abcdef"):
        raise OSError(EINVAL, f"{machine_id!r} is no machine id")
    time.clock_settime_ns(time.CLOCK_REALTIME, now)
    reseed(seed)
    _set_hostname(hostname)
    _replace("/etc/machine-id", f"{machine_id}\n", 0o444)
    stream.respond({})


def reseed(seed: bytes) -> None:
    """Mix `seed` into the kernel's pool, credit it, and make the generator start from the pool anew."""
    if len(seed) < LEAST_SEED:
        raise OSError(EINVAL, f"a seed of {len(seed)} bytes, at least {LEAST_SEED} are needed")
    fd = os.open("/dev/urandom", os.O_RDWR | os.O_CLOEXEC)
    try:
        ioctl(fd, RNDADDENTROPY, struct_pack("ii", len(seed) * 8, len(seed)) + seed)
        ioctl(fd, RNDRESEEDCRNG)
    finally:
        os.close(fd)


def _set_hostname(hostname: str) -> None:
    old = os.uname().nodename
    with open("/proc/sys/kernel/hostname", "w", encoding="ascii") as file:
        file.write(hostname)
    _replace("/etc/hostname", f"{hostname}\n", 0o644)
    kept = [
        line for line in read_text("/etc/hosts").splitlines()
        if not line.startswith("127.0.1.1") and line.split()[1:] != [old]
    ]  # fmt: skip
    if not any("localhost" in line.split() for line in kept):
        kept = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", *kept]
    _replace("/etc/hosts", "\n".join([*kept, f"127.0.1.1\t{hostname}"]) + "\n", 0o644)


def _replace(path: str, text: str, mode: int) -> None:
    if not os.path.isdir("/etc"):
        os.mkdir("/etc", 0o755)
    temporary = f"{path}.aetherium"
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
    try:
        os.rename(temporary, path)
    except OSError:
        # A bind-mounted file (containers) cannot be replaced, only written.
        os.unlink(temporary)
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)


def power_off(agent: Agent, stream: Stream, _params: "dict[str, Any]") -> None:
    """power_off"""
    stream.respond({})
    _signal_all(agent, SIGTERM)
    _stop(agent, time.monotonic() + STOP_GRACE_S)


def _stop(agent: Agent, deadline: float) -> None:
    """Wait until everything has ended, kill what is left at the deadline, sync, power off."""
    if agent.executions.running() and time.monotonic() < deadline:
        agent.loop.later(STOP_CHECK_S, lambda: _stop(agent, deadline))
    else:
        _signal_all(agent, SIGKILL)
        agent.loop.later(STOP_CHECK_S, lambda: _end(agent))  # last answers go out


def _end(agent: Agent) -> None:
    if agent.init:
        os.sync()
        _reboot(RB_POWER_OFF)
    agent.loop.stop()


def _signal_all(agent: Agent, number: int) -> None:
    if agent.init:
        try:
            os.kill(-1, number)  # everybody but process 1
        except ProcessLookupError:
            return
    else:
        agent.executions.kill_all(number)


def _reboot(how: int) -> None:
    import ctypes

    ctypes.CDLL(None, use_errno=True).reboot(ctypes.c_int(how))


def mount(kind: str, path: str) -> None:
    """Mount a file system of the kernel's own where it belongs, as far as that is possible."""
    import ctypes

    os.makedirs(path, exist_ok=True)
    ctypes.CDLL(None).mount(kind.encode(), path.encode(), kind.encode(), 0, None)
