"""Dead letters: tasks that failed for good."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from aetherium.client.sync.loop import Part
from aetherium.domain.tasks import Task


class DeadLetters(Part):
    """``client.dead_letters``; see aetherium.client.dead_letters."""

    def list(
        self,
        *,
        types: Collection[str] = (),
        error_code: str = "",
        group: str = "",
        project: str = "",
        limit: int | None = None,
    ) -> Sequence[Task]:
        """The newest `limit`, newest first; None: all."""
        return self._loop.run(
            self._client.dead_letters.list(
                types=types, error_code=error_code, group=group, project=project, limit=limit
            )
        )

    def iterate(
        self,
        *,
        types: Collection[str] = (),
        error_code: str = "",
        group: str = "",
        project: str = "",
        limit: int | None = None,
    ) -> Iterator[Task]:
        """The same as `list`, page by page."""
        return self._loop.each(
            self._client.dead_letters.iterate(
                types=types, error_code=error_code, group=group, project=project, limit=limit
            )
        )

    def get(self, ref: str) -> Task:
        """One. Raises NotFound for a task that is not dead."""
        return self._loop.run(self._client.dead_letters.get(ref))

    def requeue(self, ref: str) -> Task:
        """Try it anew, with fresh attempts."""
        return self._loop.run(self._client.dead_letters.requeue(ref))

    def discard(self, ref: str) -> Task:
        """Put it aside."""
        return self._loop.run(self._client.dead_letters.discard(ref))

    def requeue_all(
        self,
        *,
        ids: Collection[str] = (),
        types: Collection[str] = (),
        error_code: str = "",
        group: str = "",
        project: str = "",
        all: bool = False,  # noqa: A002 - the name in the API
    ) -> int:
        """Try those that fit anew; how many were changed. `all`: no matter which."""
        return self._loop.run(
            self._client.dead_letters.requeue_all(
                ids=ids, types=types, error_code=error_code, group=group, project=project, all=all
            )
        )

    def discard_all(
        self,
        *,
        ids: Collection[str] = (),
        types: Collection[str] = (),
        error_code: str = "",
        group: str = "",
        project: str = "",
        all: bool = False,  # noqa: A002 - the name in the API
    ) -> int:
        """Put those that fit aside; how many were changed. `all`: no matter which."""
        return self._loop.run(
            self._client.dead_letters.discard_all(
                ids=ids, types=types, error_code=error_code, group=group, project=project, all=all
            )
        )
