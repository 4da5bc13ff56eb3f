"""Stored secrets: providers that hold them, envelope encryption, and how they get to executions."""
