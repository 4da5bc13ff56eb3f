"""VMs by QEMU."""

from aetherium.drivers.qemu.driver import QemuDriver

__all__ = ["QemuDriver"]
