"""The HTTP API: REST and WebSocket under ``/v1``, over the services. No state of its own."""
