"""What process 1 does before anything else, where the initramfs has not done it."""

import os

MOUNTS = (
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/dev/shm"),  # noqa: S108  # a mount point, no temporary file
)
CGROUP = "/sys/fs/cgroup"


def prepare() -> None:
    """Mount what is missing. Failures are left to whoever needs the mount: there is nobody to tell yet."""
    os.environ.setdefault("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    missing = [(kind, path) for kind, path in MOUNTS if not _mounted(path)]
    if not os.path.exists(f"{CGROUP}/cgroup.controllers"):
        missing.append(("cgroup2", CGROUP))
    if missing:
        from aetherium.guest.system import mount

        for kind, path in missing:
            mount(kind, path)


def _mounted(path: str) -> bool:
    try:
        return os.stat(path).st_dev != os.stat(os.path.dirname(path)).st_dev
    except OSError:
        return False
