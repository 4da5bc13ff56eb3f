"""A Celery application whose one task does nothing: over Redis, with results in PostgreSQL."""

from __future__ import annotations

import os

from celery import Celery  # type: ignore[import-untyped]

BROKER, RESULTS = "BENCH_CELERY_BROKER", "BENCH_CELERY_RESULTS"

app = Celery("bench", broker=os.environ.get(BROKER), backend=os.environ.get(RESULTS))
app.conf.update(
    # As durable as ours: what a worker that dies had received is done by another one. It costs nothing here.
    task_acks_late=True,
    worker_prefetch_multiplier=4,  # the fastest of 1, 4, 16, 64 and 128, by little
    worker_hijack_root_logger=False,
)


@app.task  # type: ignore[untyped-decorator]
def noop() -> None:
    """Nothing."""


def add(count: int) -> None:
    """Add so many, one by one: Celery knows no other way."""
    for _ in range(count):
        noop.delay()
