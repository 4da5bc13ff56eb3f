"""Signals without the `signal` module, whose enums would cost a tenth of the agent's start."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from signal import (
        SIG_DFL,
        SIGCHLD,
        SIGHUP,
        SIGINT,
        SIGKILL,
        SIGPIPE,
        SIGTERM,
        SIGUSR1,
        SIGUSR2,
        set_wakeup_fd,
    )
    from signal import signal as set_handler
else:
    from _signal import (
        SIG_DFL,
        SIGCHLD,
        SIGHUP,
        SIGINT,
        SIGKILL,
        SIGPIPE,
        SIGTERM,
        SIGUSR1,
        SIGUSR2,
        set_wakeup_fd,
    )
    from _signal import signal as set_handler

__all__ = [
    "SIGCHLD",
    "SIGHUP",
    "SIGINT",
    "SIGKILL",
    "SIGPIPE",
    "SIGTERM",
    "SIGUSR1",
    "SIGUSR2",
    "SIG_DFL",
    "set_handler",
    "set_wakeup_fd",
]
