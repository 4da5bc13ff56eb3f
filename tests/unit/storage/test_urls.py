"""What can be a database_url."""

from __future__ import annotations

import pytest

from aetherium.domain.errors import InvalidInput
from aetherium.storage.migrating import name, server_url


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_usual_urls_are_taken(scheme: str) -> None:
    url = server_url(f"{scheme}://me:p%40ss@db:5433/state?sslmode=verify-full")
    assert (url.drivername, url.username, url.password) == ("postgresql+asyncpg", "me", "p@ss")
    assert (url.host, url.port, url.database, dict(url.query)) == (
        "db",
        5433,
        "state",
        {"ssl": "verify-full"},
    )


def test_a_socket_is_a_host() -> None:
    assert server_url("postgresql:///state?host=/run/postgresql").query["host"] == "/run/postgresql"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "s3cret",
        "mysql://me:s3cret@db/x",
        "sqlite:///s3cret.db",
        "postgresql+psycopg://me:s3cret@db/x",
        "postgresql://me:s3cret@db:port/x",
        "postgresql://me:s3cret@db/x?application_name=me",
    ],
)
def test_others_are_refused_without_telling_the_password(wrong: str) -> None:
    with pytest.raises(InvalidInput, match="database_url") as refused:
        server_url(wrong)
    assert "s3cret" not in str(refused.value)


def test_the_password_is_not_shown() -> None:
    assert "s3cret" not in name(server_url("postgresql://me:s3cret@db/x"))
