"""Delivers tickets to workers: in this process, or over Redis."""
