"""The client for programs without an event loop: the same calls, which wait.

One thread runs the event loop of all calls of a client; a client may be used from several threads.
"""

from aetherium.client.sync.client import Client

__all__ = ["Client"]
