"""How both sides set up gRPC."""

from __future__ import annotations

Options = tuple[tuple[str, int], ...]

# Bytes of a file or archive in one message.
PIECE = 64 * 1024
# What a stream may have on its way before its reader takes it; its sender then waits. Fixed: gRPC's own
# estimate grows to many megabytes on a fast link, and a resumed stream has to be able to send that again.
WINDOW = 256 * 1024
# Stdin that the worker has not acknowledged; it always takes this much, so that controls are never held up.
STDIN_WINDOW = 256 * 1024
# A peer that says nothing for this long is asked, and given up if it does not answer.
_KEEPALIVE_MS = 20_000
_ANSWER_MS = 10_000

_COMMON: Options = (
    ("grpc.max_metadata_size", 64 * 1024),  # errors carry details
    ("grpc.absolute_max_metadata_size", 64 * 1024),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _ANSWER_MS),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", WINDOW),
)

CLIENT: Options = (
    *_COMMON,
    (
        "grpc.max_receive_message_length",
        -1,
    ),  # the worker is trusted with our memory, guests are limited there
    ("grpc.enable_retries", 0),  # what may be repeated is decided call by call
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),  # two channels to one address do not share a connection
)

SERVER: Options = (
    *_COMMON,
    ("grpc.max_receive_message_length", 32 << 20),  # a Run with its stdin
    ("grpc.so_reuseport", 0),  # a second worker on the same port is an error, not half of the calls
    ("grpc.http2.min_ping_interval_without_data_ms", _KEEPALIVE_MS // 2),
    ("grpc.keepalive_permit_without_calls", 1),
)
