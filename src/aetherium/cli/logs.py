"""The log of this process: one line per event on stderr. Tracebacks without local variables: these may hold
secrets."""

from __future__ import annotations

import logging
import sys


def configure(level: str) -> None:
    """Log what is of `level` (debug, info, warning, error) and above."""
    import structlog

    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event")),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(
        stream=sys.stderr, format="timestamp=%(asctime)s level=%(levelname)s event=%(message)s"
    )
    # The libraries' own logs (uvicorn, asyncio) repeat what we say, except what is wrong.
    logging.getLogger().setLevel(max(number, logging.ERROR) if number > logging.DEBUG else number)
    logging.getLogger("aetherium").setLevel(number)
