"""The host's side of the guest protocol: from an endpoint to a Guest."""

from aetherium.channel.connector import Connector
from aetherium.channel.guest import ChannelGuest

__all__ = ["ChannelGuest", "Connector"]
