"""Frames of the guest protocol, and a decoder that survives anything (see guest.md, "Frames").

Imported by the agent, so it imports almost nothing: each module costs boot time in a guest.
"""

from struct import Struct

# mark u16, type u8, flags u8, stream u32, length of the payload u32; big endian.
HEADER = Struct(">HBBII")
HEADER_SIZE = HEADER.size
MARK = 0xAE54
MAX_PAYLOAD = 65536
# A control message may span frames (FLAG_MORE): a command line may be longer than one frame.
MAX_MESSAGE = 1 << 20

HELLO = 1  # host → agent: begin, or begin anew
WELCOME = 2  # agent → host: the answer, with the host's nonce
INFO = 3  # agent → host: who I am
PING = 4  # both: answer me
PONG = 5  # both: the payload of the PING
ERROR = 6  # agent → host: this connection is over, and why
REQUEST = 16  # host → agent: opens a stream
RESPONSE = 17  # agent → host: the answer; ends the stream
FAILURE = 18  # agent → host: errno and message; ends the stream
DATA = 19  # both: bytes, counted against credit
OUTPUT = 20  # agent → host: u64 offset and bytes of an execution's output, counted against credit
EVENT = 21  # agent → host: a packed value in the middle of a stream, counted against credit
END = 22  # host → agent: no more DATA
CREDIT = 23  # both: u32 more bytes may be sent on this stream
RESET = 24  # host → agent: give the stream up

FLAG_MORE = 1  # REQUEST: the message goes on in the next frame of this stream
FLAG_STDERR = 2  # OUTPUT: stderr; without it stdout

# What the host may send on a new stream before the first CREDIT; also the least window it may give the agent.
INITIAL_CREDIT = 65536
# A frame of the agent's counts for at least this much, or a window full of tiny frames would fill the host.
LEAST_COST = 128

_MAGIC = b"AETHERIUM-GUEST\n"
NONCE_SIZE = 16
_HELLO_BODY = Struct(">16s16sHHI")
_WELCOME_BODY = Struct(">16s16sHHI")
VERSION = 1

Frame = tuple[int, int, int, bytes]
"""(type, flags, stream, payload)"""


def cost(payload: bytes) -> int:
    """What a DATA, OUTPUT or EVENT of the agent's takes from its credit."""
    return max(len(payload), LEAST_COST)


class FrameError(Exception):
    """The bytes are not frames of this protocol."""


def header(kind: int, stream: int, size: int, flags: int = 0) -> bytes:
    """What stands before a payload of `size` bytes, at most MAX_PAYLOAD."""
    if size > MAX_PAYLOAD:
        raise FrameError(f"payload of {size} bytes, at most {MAX_PAYLOAD} fit")
    return HEADER.pack(MARK, kind, flags, stream, size)


def encode(kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """One frame as bytes. `payload` is at most MAX_PAYLOAD long."""
    return header(kind, stream, len(payload), flags) + payload


def encode_message(kind: int, stream: int, message: bytes) -> bytes:
    """A control message as one or more frames."""
    if len(message) > MAX_MESSAGE:
        raise FrameError(f"message of {len(message)} bytes, at most {MAX_MESSAGE} fit")
    frames = []
    while len(message) > MAX_PAYLOAD:
        frames.append(encode(kind, stream, message[:MAX_PAYLOAD], FLAG_MORE))
        message = message[MAX_PAYLOAD:]
    frames.append(encode(kind, stream, message))
    return b"".join(frames)


def hello(nonce: bytes, lowest: int = VERSION, highest: int = VERSION) -> bytes:
    """The frame with which a host begins, naming the versions that it speaks."""
    return encode(HELLO, 0, _HELLO_BODY.pack(_MAGIC, nonce, lowest, highest, 0))


def parse_hello(payload: bytes) -> tuple[bytes, int, int]:
    """(nonce, lowest version, highest version) of a HELLO."""
    if len(payload) != _HELLO_BODY.size or not payload.startswith(_MAGIC):
        raise FrameError("malformed HELLO")
    _, nonce, lowest, highest, _ = _HELLO_BODY.unpack(payload)
    return nonce, lowest, highest


def welcome(nonce: bytes, version: int = VERSION) -> bytes:
    """The agent's answer; version 0: none of the offered versions is spoken."""
    return encode(WELCOME, 0, _WELCOME_BODY.pack(_MAGIC, nonce, version, 0, 0))


def parse_welcome(payload: bytes) -> tuple[bytes, int]:
    """(nonce, version) of a WELCOME."""
    if len(payload) != _WELCOME_BODY.size or not payload.startswith(_MAGIC):
        raise FrameError("malformed WELCOME")
    _, nonce, version, _, _ = _WELCOME_BODY.unpack(payload)
    return nonce, version


HELLO_PREFIX = hello(bytes(NONCE_SIZE))[: HEADER_SIZE + len(_MAGIC)]
WELCOME_PREFIX = welcome(bytes(NONCE_SIZE))[: HEADER_SIZE + len(_MAGIC)]
# Completes whatever frame the agent may be in the middle of; what is left over cannot be a header.
_FILL = b"aetherium-fill.\n"
PADDING = (_FILL * (MAX_PAYLOAD // len(_FILL) + 1))[: HEADER_SIZE + MAX_PAYLOAD]
_MARK_BYTES = MARK.to_bytes(2, "big")


def welcome_prefix(nonce: bytes) -> bytes:
    """How the answer to the HELLO with this nonce begins."""
    return welcome(nonce)[: HEADER_SIZE + len(_MAGIC) + NONCE_SIZE]


class Decoder:
    """Cuts a byte stream into frames. Holds at most one frame and what was fed last.

    It begins by hunting: it drops bytes until `sync`, the beginning of a HELLO or WELCOME, appears.

    Args:
        sync: the bytes that a connection begins with.
        resync: what to do with bytes that are no frame: True, hunt again; False, raise FrameError.
    """

    __slots__ = ("_buffer", "_resync", "_sync", "hunting")

    def __init__(self, sync: bytes, *, resync: bool) -> None:
        self._buffer = bytearray()
        self._sync = sync
        self._resync = resync
        self.hunting = True

    def reset(self) -> None:
        """Forget what was buffered and hunt."""
        self._buffer.clear()
        self.hunting = True

    @property
    def buffered(self) -> int:
        """Bytes held back because their frame is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes | memoryview) -> list[Frame]:
        """All frames that are complete now."""
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        at = 0
        with memoryview(buffer) as view:
            while True:
                if self.hunting:
                    at = self._hunt(at)
                if self.hunting or len(buffer) - at < HEADER_SIZE:
                    break
                mark, kind, flags, stream, length = HEADER.unpack_from(buffer, at)
                if mark != MARK or length > MAX_PAYLOAD:
                    if not self._resync:
                        raise FrameError(f"no frame: mark {mark:#x}, length {length}")
                    self.hunting = True
                    continue
                end = at + HEADER_SIZE + length
                if end > len(buffer):
                    break
                if self._resync and self._is_filled(end, length):
                    if end == len(buffer):
                        break  # what comes next will tell
                    self.hunting = True
                    at = end
                    continue
                frames.append((kind, flags, stream, bytes(view[at + HEADER_SIZE : end])))
                at = end
        del buffer[:at]
        return frames

    def _is_filled(self, end: int, length: int) -> bool:
        """Whether the frame up to `end` may be an unfinished one that a newcomer's bytes have completed."""
        after = self._buffer[end : end + 2]
        if after:
            return not _MARK_BYTES.startswith(after)
        if length >= len(_FILL) and self._buffer[end - len(_FILL) : end] in _FILL * 2:
            return True
        # Or in a HELLO, or up to fifteen bytes behind one.
        begin = end - min(length, len(HELLO_PREFIX) - 1)
        cut = self._buffer.rfind(_MARK_BYTES, begin, end)
        if cut >= 0 and HELLO_PREFIX.startswith(self._buffer[cut:end]):
            return True
        begin = end - min(length, HEADER_SIZE + _HELLO_BODY.size + len(_FILL))
        return self._buffer.find(HELLO_PREFIX, begin, end) >= 0

    def _hunt(self, at: int) -> int:
        """Where `sync` begins from `at` on; without one, where it might still begin."""
        found = self._buffer.find(self._sync, at)
        if found >= 0:
            self.hunting = False
            return found
        return max(at, len(self._buffer) - len(self._sync) + 1)
