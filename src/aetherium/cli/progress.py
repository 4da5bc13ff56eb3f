"""A live line on a terminal: spinner, step, how far, how long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def live(console: Console, text: str) -> Iterator[Callable[[str, float | None], None]]:
    """See Output.progress. The line goes away at the end."""
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(escape(text), total=None)

        def update(step: str, fraction: float | None) -> None:
            bar.update(
                task,
                description=escape(step),
                total=None if fraction is None else 1.0,
                completed=0 if fraction is None else fraction,
            )

        yield update
