"""A client that follows an execution: output out as credit allows, stdin in, the result at the end."""

from aetherium.guest.connection import Handler
from aetherium.protocol.frames import EVENT, FLAG_STDERR, OUTPUT, cost
from aetherium.protocol.pack import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aetherium.guest.execution import Execution

OFFSET_SIZE = 8


class Attachment(Handler):
    """Answers exec.attach and exec.run.

    Attributes:
        writer: the client's name, kept over lost connections.
        consumed: offsets up to which the client has consumed stdout and stderr.
    """

    def __init__(self, execution: "Execution", stdout: int, stderr: int, writer: bytes) -> None:
        self._execution = execution
        self.writer = writer
        self._sent = [max(0, stdout), max(0, stderr)]
        self._unacknowledged: list[tuple[int, int, int]] = []  # cost, channel (-1: none), offset after it
        self._freed = 0
        self._turn = 0
        self.consumed = list(self._sent)
        self.connected = True

    def begin(self) -> None:
        """The stream is there: say how far stdin has come, and follow."""
        taken = pack({"stdin": self._execution.stdin.taken(self.writer)})
        self._unacknowledged.append((cost(taken), -1, 0))
        self.stream.send(EVENT, taken)
        self._execution.follow(self)

    def data(self, payload: bytes) -> None:
        """Stdin."""
        self._execution.stdin.write(self.writer, payload, self.stream)

    def end(self) -> None:
        """End of stdin."""
        self._execution.stdin.finish()

    def credited(self, count: int) -> None:
        """The client has consumed the oldest frames: what they held need not be kept for it."""
        self._freed += count
        done = 0
        for size, channel, offset in self._unacknowledged:
            if self._freed < size:
                break
            self._freed -= size
            if channel >= 0:
                self.consumed[channel] = offset
            done += 1
        del self._unacknowledged[:done]
        self._execution.resume()

    def pump(self) -> bool:
        """One chunk of one output, in turns; the result when all was sent."""
        room = self.stream.room() - OFFSET_SIZE
        if room > 0:
            for _ in range(2):
                self._turn ^= 1
                if self._send(self._turn, room):
                    return True
        outputs = self._execution.outputs
        if self._execution.result is not None and all(
            sent >= output.end for sent, output in zip(self._sent, outputs, strict=False)
        ):
            self._execution.unfollow(self)
            self.stream.respond(self._execution.result)
        return False

    def _send(self, channel: int, room: int) -> bool:
        outputs = self._execution.outputs
        if not outputs or self._sent[channel] >= outputs[channel].end:
            return False
        offset, data = outputs[channel].slice(self._sent[channel], room)
        self._sent[channel] = offset + len(data)
        payload = offset.to_bytes(OFFSET_SIZE, "big") + data
        self._unacknowledged.append((cost(payload), channel, self._sent[channel]))
        self.stream.send(OUTPUT, payload, FLAG_STDERR if channel else 0)
        return True

    def closed(self, clean: bool) -> None:
        """Detached, or cut off."""
        self.connected = False
        if clean:
            self._execution.unfollow(self)
        else:
            self._execution.linger(self)
