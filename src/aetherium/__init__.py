"""Aetherium runs autonomous agents and untrusted jobs in isolated microVMs."""

__version__ = "0.1.0"
