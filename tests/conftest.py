"""Fixtures of the whole suite: one definition each, so that what is dear is made once for the whole run."""

pytest_plugins = ("tests.fixtures.images", "tests.fixtures.vms")
