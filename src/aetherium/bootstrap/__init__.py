"""The one place that names concrete classes: from settings to processes that work."""

from __future__ import annotations

from aetherium.bootstrap.parts import Parts, parts
from aetherium.bootstrap.platform import Platform, open_platform
from aetherium.bootstrap.serving import Opened, open_gateway

__all__ = ["Opened", "Parts", "Platform", "open_gateway", "open_platform", "parts"]
