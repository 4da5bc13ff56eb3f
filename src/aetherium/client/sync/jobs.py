"""Jobs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from aetherium.client.sync.loop import Part, joined
from aetherium.domain.jobs import Job, JobEvent, JobSpec, JobState, StepLog


class Jobs(Part):
    """``client.jobs``; see aetherium.client.jobs."""

    def submit(
        self, spec: JobSpec, *, secrets: Mapping[str, str] | None = None, idempotency_key: str = ""
    ) -> Job:
        """Start a job."""
        return self._loop.run(
            self._client.jobs.submit(spec, secrets=secrets, idempotency_key=idempotency_key)
        )

    def list(self, *, states: Collection[JobState] = (), limit: int | None = None) -> Sequence[Job]:
        """The newest `limit` jobs, newest first; None: all."""
        return self._loop.run(self._client.jobs.list(states=states, limit=limit))

    def iterate(self, *, states: Collection[JobState] = (), limit: int | None = None) -> Iterator[Job]:
        """The same as `list`, page by page."""
        return self._loop.each(self._client.jobs.iterate(states=states, limit=limit))

    def get(self, ref: str) -> Job:
        """One job."""
        return self._loop.run(self._client.jobs.get(ref))

    def wait(self, ref: str) -> Job:
        """One job, at its end."""
        return self._loop.run(self._client.jobs.wait(ref))

    def events(self, ref: str, *, after: int = 0) -> Iterator[JobEvent]:
        """What happens in it, until it has ended."""
        return self._loop.iterate(self._client.jobs.events(ref, after=after))

    def cancel(self, ref: str) -> Job:
        """Ask it to end."""
        return self._loop.run(self._client.jobs.cancel(ref))

    def delete(self, ref: str) -> None:
        """Delete it, with its logs and artifacts."""
        self._loop.run(self._client.jobs.delete(ref))

    def logs(self, ref: str) -> Sequence[StepLog]:
        """The files with what its steps have written so far."""
        return self._loop.run(self._client.jobs.logs(ref))

    def log(self, ref: str, name: str) -> bytes:
        """What a step has written so far."""
        return self._loop.run(joined(self._client.jobs.log(ref, name)))

    def patch(self, ref: str, *, delta: bool = False) -> bytes:
        """All changes that it made."""
        return self._loop.run(joined(self._client.jobs.patch(ref, delta=delta)))

    def artifact(self, ref: str, name: str) -> bytes:
        """An artifact's bytes."""
        return self._loop.run(joined(self._client.jobs.artifact(ref, name)))
