"""Jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import quote

from aetherium.client import values
from aetherium.client.paging import iterate
from aetherium.client.resuming import Lines, resuming
from aetherium.client.transport import Transport, quoted
from aetherium.client.uploads import Uploads
from aetherium.domain.jobs import Job, JobEvent, JobSpec, JobState, StepLog


class Jobs:
    """``client.jobs``. A `ref` is an id or a unique prefix of one."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    async def submit(
        self, spec: JobSpec, *, secrets: Mapping[str, str] | None = None, idempotency_key: str = ""
    ) -> Job:
        """Start a job.

        Over the Unix socket, its source's paths are those of the gateway's host, which is this one. Over HTTP
        they are this host's as well: what lies here is packed and uploaded; see `Uploads.pack`.

        Args:
            idempotency_key: with it this may be called again, by whomever: the first job comes back.
        """
        if spec.source is not None and not self._http.gateway.local:
            spec = replace(spec, source=await Uploads(self._http).pack(spec.source))
        body = {"spec": values.dump(spec), "secrets": dict(secrets or {})}
        key = idempotency_key or values.new_key()
        return values.load(Job, await self._http.call("POST", "/v1/jobs", body=body, key=key))

    async def list(self, *, states: Collection[JobState] = (), limit: int | None = None) -> Sequence[Job]:
        """The newest `limit` jobs, newest first; None: all."""
        return [job async for job in self.iterate(states=states, limit=limit)]

    def iterate(self, *, states: Collection[JobState] = (), limit: int | None = None) -> AsyncIterator[Job]:
        """The same as `list`, page by page."""
        params = {"state": [state.value for state in states]}
        return iterate(self._http, "/v1/jobs", Job, params, limit=limit)

    async def get(self, ref: str) -> Job:
        """One job."""
        return values.load(Job, await self._http.call("GET", f"/v1/jobs/{quoted(ref)}"))

    async def wait(self, ref: str) -> Job:
        """One job, at its end."""
        found = await self._http.call("GET", f"/v1/jobs/{quoted(ref)}", params={"wait": "true"})
        return values.load(Job, found)

    @asynccontextmanager
    async def events(self, ref: str, *, after: int = 0) -> AsyncIterator[AsyncIterator[JobEvent]]:
        """What happens in it, from the event after `after` on, until it has ended. A connection that is cut
        is taken up again where it was."""
        path, seq = f"/v1/jobs/{quoted(ref)}/events", after

        async def read(lines: Lines) -> AsyncIterator[JobEvent]:
            nonlocal seq
            async for line in lines:
                event = values.load(JobEvent, line)
                seq = event.seq
                yield event

        async with resuming(
            self._http.retry, lambda: self._http.lines("GET", path, params={"after": seq})
        ) as lines:
            yield read(lines)

    async def cancel(self, ref: str) -> Job:
        """Ask it to end; returns at once."""
        return values.load(Job, await self._http.call("POST", f"/v1/jobs/{quoted(ref)}/cancel"))

    async def delete(self, ref: str) -> None:
        """Delete it, with its logs and artifacts."""
        await self._http.call("DELETE", f"/v1/jobs/{quoted(ref)}")

    async def logs(self, ref: str) -> Sequence[StepLog]:
        """The files with what its steps have written so far."""
        found = await self._http.call("GET", f"/v1/jobs/{quoted(ref)}/logs")
        return [values.load(StepLog, item) for item in found]

    def log(self, ref: str, name: str) -> AsyncIterator[bytes]:
        """What a step has written so far, by the name that `logs` tells."""
        return self._http.download(f"/v1/jobs/{quoted(ref)}/logs/{quote(name, safe='')}")

    def patch(self, ref: str, *, delta: bool = False) -> AsyncIterator[bytes]:
        """All changes against the commit, as ``git apply`` takes them; `delta`: only those that it made to
        what was delivered, where that differed from the commit."""
        params = {"delta": "true"} if delta else None
        return self._http.download(f"/v1/jobs/{quoted(ref)}/patch", params=params)

    def artifact(self, ref: str, name: str) -> AsyncIterator[bytes]:
        """An artifact's bytes, by its path."""
        return self._http.download(f"/v1/jobs/{quoted(ref)}/artifacts/{quote(name)}")
