"""Moving windows that count requests: in this process, or in Redis for all processes of an installation."""
