"""The contract of the guest protocol, host and agent together."""

import pytest

for _name in ("archives", "base", "cuts", "executions", "files", "identity", "stdin"):
    pytest.register_assert_rewrite(f"{__name__}.{_name}")
