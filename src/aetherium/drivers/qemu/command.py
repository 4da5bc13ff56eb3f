"""The command line of QEMU. All names are relative to the VM's directory, its working directory."""

from __future__ import annotations

from dataclasses import dataclass

from aetherium.drivers.qemu import console, users
from aetherium.drivers.qemu.home import MEMORY, MONITOR, PIDFILE, PORTS, disk_name
from aetherium.interfaces.drivers import Launch

PROGRAM = "qemu-system-x86_64"
# Bytes of translated code, in MiB, that TCG keeps; touched as needed and thrown away as a whole when full.
# A boot and a Python test suite fit; a smaller one translates again and again.
_TCG_BUFFER_MIB = 256
# As root, QEMU has to change to a user of its own, which only `elevateprivileges=allow` lets it do; what
# it is after that has no privileges to change, and may not start programs.
_SANDBOX = "on,obsolete=deny,elevateprivileges={},spawn=deny,resourcecontrol=deny"
# A panic restarts, which -no-reboot turns into the end of the VM; the console keeps its message.
_CMDLINE = "reboot=t panic_on_oops=1"


@dataclass(frozen=True, slots=True)
class Machine:
    """What is the same for all VMs of this host.

    Args:
        accel: ``kvm`` or ``tcg``.
        tsc_khz: frequency of the host's time stamp counter.
    """

    accel: str
    tsc_khz: int


def boot(machine: Machine, launch: Launch) -> list[str]:
    """Boot the image's kernel."""
    memory = f"memory-backend-ram,id=mem0,size={launch.resources.memory_mib}M"
    image = launch.image
    words = [image.cmdline, _CMDLINE]
    if machine.accel == "tcg":
        # Under TCG the guest's counter is the host's. Left to itself the kernel measures it against the
        # timer chip, gives up where the host is busy, and then waits for ever for a tick.
        words.append(f"tsc_early_khz={machine.tsc_khz} tsc=reliable")
        # Translated code is kept by address: where each program finds its libraries at addresses of its own,
        # all of them are translated anew each time (/bin/true: 38 ms of CPU, instead of 14).
        words.append("norandmaps")
    kernel = ["-kernel", str(image.kernel), "-initrd", str(image.initrd)]
    return [*_common(machine, launch, memory, level=1), *kernel, "-append", " ".join(words)]


def resume(machine: Machine, launch: Launch, *, level: int, device_fd: int) -> list[str]:
    """Go on with a snapshot whose memory file is linked here and whose device state is open at `device_fd`.

    The mapping is private: what the VM writes stays its own, and the file does not change. QEMU loads the
    device state and lets the VM run without being told to; a kernel is not needed any more.
    """
    memory = f"memory-backend-file,id=mem0,size={launch.resources.memory_mib}M,mem-path={MEMORY},share=off"
    return [*_common(machine, launch, memory, level=level), "-incoming", f"fd:{device_fd}"]


def _common(machine: Machine, launch: Launch, memory: str, *, level: int) -> list[str]:
    tcg = machine.accel == "tcg"
    accel = f"tcg,thread=multi,tb-size={_TCG_BUFFER_MIB}" if tcg else "kvm"
    # The device state is written without a configuration and a description of itself; see snapshots.py.
    return [
        *(PROGRAM, "-name", f"{launch.vm_id},debug-threads=off", "-pidfile", PIDFILE),
        *("-M", "microvm,memory-backend=mem0,suppress-vmdesc=on", "-accel", accel),
        *("-global", "migration.send-configuration=off"),
        *("-cpu", "max" if tcg else "host", "-smp", str(launch.resources.vcpus)),
        *("-m", f"{launch.resources.memory_mib}M", "-object", memory),
        *("-nodefaults", "-no-user-config", "-nographic", "-no-reboot"),
        *_confined(launch.vm_id),
        *("-chardev", f"file,id=console,path={console.LOG},append=on", "-serial", "chardev:console"),
        *("-qmp", f"unix:{MONITOR},server=on,wait=off"),
        *_read_only("root", str(launch.image.rootfs)),
        *_read_only("agent", str(launch.image.agent_drive)),
        *_scratch(level),
        *_ports(),
        *("-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-device,rng=rng0"),
    ]


def _confined(vm_id: str) -> list[str]:
    uid = users.of(vm_id)
    if uid is None:
        return ["-sandbox", _SANDBOX.format("deny")]
    return ["-sandbox", _SANDBOX.format("allow"), "-runas", f"{uid}:{uid}"]


def _read_only(serial: str, path: str) -> list[str]:
    name = path.replace(",", ",,")
    drive = f"id={serial},file={name},if=none,format=raw,readonly=on,file.locking=off"
    return ["-drive", drive, "-device", f"virtio-blk-device,drive={serial},serial={serial}"]


def _scratch(level: int) -> list[str]:
    """The guest's flushes are not passed on: a disk that dies with its VM need not survive the host. QEMU
    still writes out its own tables when the VM stops, which is what a snapshot needs. Where the host's disk
    is full the guest gets errors, rather than being stopped."""
    drive = (
        f"id=scratch,file={disk_name(level)},if=none,format=qcow2,cache=unsafe,discard=unmap"
        ",detect-zeroes=unmap,werror=report,rerror=report,file.locking=off"
    )
    return ["-drive", drive, "-device", "virtio-blk-device,drive=scratch,serial=scratch"]


def _ports() -> list[str]:
    words = ["-device", f"virtio-serial-device,max_ports={len(PORTS) + 1}"]
    for number, name in enumerate(PORTS):
        words += ["-chardev", f"socket,id=agent{number},path={name},server=on,wait=off"]
        words += ["-device", f"virtserialport,chardev=agent{number},name=org.aetherium.agent.{number}"]
    return words
