"""The services as one caller has them: what its role allows, with what is its project's. What it changes is
recorded.

REST and gRPC reach the platform through this and nothing else, so neither a route nor a method of a service
can forget to ask: see `rules`.
"""

from __future__ import annotations

from aetherium.gateway.access.access import Known
from aetherium.gateway.access.platform import Platform, Services

__all__ = ["Known", "Platform", "Services"]
