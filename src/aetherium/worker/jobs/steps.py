"""One step of a job: a command in its VM, with live output."""

from __future__ import annotations

import codecs
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace

from aetherium.domain.executions import ExecutionResult, ExecutionSpec, ExecutionState
from aetherium.domain.guest import OutputChunk, OutputStream
from aetherium.domain.ids import EXECUTION, new_id
from aetherium.domain.jobs import Job, JobStep, StepCondition, StepOutcome, StepResult
from aetherium.interfaces.clock import Clock
from aetherium.interfaces.guest import Attachment
from aetherium.interfaces.jobs import JobJournal
from aetherium.services.executions import ExecutionService
from aetherium.services.masking import Masker, patterns
from aetherium.worker.jobs.secrets import JobSecrets

# Of each stream; what came before a lost connection is kept that long.
_OUTPUT_KEPT = 4 << 20


@dataclass(frozen=True, slots=True)
class StepRunner:
    """Runs the steps of one job in its VM.

    Args:
        secrets: all of the job's.
    """

    executions: ExecutionService
    clock: Clock
    journal: JobJournal
    job: Job
    vm_id: str
    secrets: JobSecrets

    def wanted(self, step: JobStep, *, failed: bool) -> bool:
        """Whether a step runs, after what came before it."""
        if step.condition is StepCondition.ALWAYS:
            return True
        return failed == (step.condition is StepCondition.FAILURE)

    async def run(self, step: JobStep) -> StepResult:
        """Run it to its end. When cancelled it is the VM's end that ends the command."""
        begun = StepResult(step.name, StepOutcome.CANCELLED, started_at=self.clock.now())
        output = _Output(self.journal, step.name, patterns(self.secrets.values.values()))
        execution_id = new_id(EXECUTION)
        seen = await self.secrets.for_step(self._names(step), execution=execution_id, vm=self.vm_id)
        async with self.executions.launch(self.vm_id, self._spec(step, seen), execution_id=execution_id) as (
            execution,
            attachment,
        ):
            result = await self._follow(output, attachment)
        failed = not result.ok
        return replace(
            begun,
            outcome=StepOutcome.FAILED if failed else StepOutcome.PASSED,
            execution_id=execution.id,
            result=result,
            ended_at=self.clock.now(),
            ignored=failed and step.continue_on_error,
            log_bytes=output.size,
        )

    async def _follow(self, output: _Output, attachment: Attachment) -> ExecutionResult:
        async for chunk in attachment:
            output.take(chunk)
            await self.journal.room()
        output.end()
        result = await attachment.result()
        if explanation := _explained(result):
            self.journal.emit("warning", step=output.step, message=explanation)
        return result

    def _names(self, step: JobStep) -> tuple[str, ...]:
        return self.job.spec.secrets if step.secrets is None else step.secrets

    def _spec(self, step: JobStep, secrets: Mapping[str, str]) -> ExecutionSpec:
        job, spec = self.job, self.job.spec
        return ExecutionSpec(
            argv=step.argv or (*step.shell, step.run),
            env={
                "CI": "true",
                "AETHERIUM": "true",
                "AETHERIUM_JOB_ID": job.id,
                "AETHERIUM_JOB_NAME": spec.name,
                "AETHERIUM_STEP": step.name,
                "AETHERIUM_WORKDIR": spec.workdir,
                "AETHERIUM_COMMIT": job.commit,
                # Steps may run as another user than the one that the files belong to.
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": spec.workdir,
                **spec.env,
                **step.env,
            },
            secret_env=secrets,
            cwd=posixpath.normpath(posixpath.join(spec.workdir, step.cwd)),
            user=step.user or spec.user,
            timeout_s=step.timeout_s,
            output_limit=_OUTPUT_KEPT,
        )


class _Output:
    """A step's output on its way into the journal: masked, and whole characters."""

    def __init__(self, journal: JobJournal, step: str, forms: tuple[bytes, ...]) -> None:
        self._journal = journal
        self.step = step
        self._maskers = {stream: Masker(forms) for stream in OutputStream}
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {stream: decoder(errors="replace") for stream in OutputStream}
        self._next = dict.fromkeys(OutputStream, 0)
        self.size = 0

    def take(self, chunk: OutputChunk) -> None:
        """More output."""
        stream = chunk.stream
        if chunk.offset > self._next[stream]:
            lost = chunk.offset - self._next[stream]
            self._journal.emit("warning", step=self.step, message=f"{lost} bytes of {stream} were lost.")
        self._next[stream] = chunk.offset + len(chunk.data)
        self.size += len(chunk.data)
        self._write(stream, self._maskers[stream].feed(chunk.offset, chunk.data)[1])

    def end(self) -> None:
        """There is no more."""
        for stream in OutputStream:
            self._write(stream, self._maskers[stream].end()[1], final=True)

    def _write(self, stream: OutputStream, data: bytes, *, final: bool = False) -> None:
        text = self._decoders[stream].decode(data, final)
        if text:
            self._journal.output(self.step, str(stream), text)


def _explained(result: ExecutionResult) -> str:
    """What the exit code does not tell."""
    if result.oom:
        return "It was ended by the out-of-memory killer: the VM has too little memory for it."
    if result.state is ExecutionState.TIMED_OUT:
        return "It ran into its timeout and was ended with all that it had started."
    return result.error if result.state is ExecutionState.FAILED else ""
