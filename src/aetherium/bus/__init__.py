"""Facts and hints between processes: in this process, or over Redis."""
