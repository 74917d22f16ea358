"""Database URLs as administrators write them."""

from __future__ import annotations

import pytest

from mdm.storage.urls import parse_database_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sqlite:////var/lib/bridge.sqlite3", "sqlite:////var/lib/bridge.sqlite3"),
        ("sqlite+pysqlite:///bridge.sqlite3", "sqlite:///bridge.sqlite3"),
        ("postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgresql://u:p@h:5433/d?sslmode=require", "postgresql+psycopg://u:p@h:5433/d?sslmode=require"),
        (
            "postgresql+psycopg://u@/d?host=/run/postgresql",
            "postgresql+psycopg://u@/d?host=%2Frun%2Fpostgresql",
        ),
    ],
)
def test_a_url_gets_the_driver_the_bridge_is_built_for(text: str, expected: str) -> None:
    """Every usual spelling leads to the same driver."""
    assert parse_database_url(text).render_as_string(hide_password=False) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must look like"),
        ("bridge.sqlite3", "must look like"),
        ("postgresql://u@h:port/d", "must look like"),
        ("mysql://h/d", "names the database mysql"),
        ("postgresql+asyncpg://h/d", r"names the database postgresql\+asyncpg"),
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("sqlite:///file:x?mode=memory&uri=true", "must name a file"),
    ],
)
def test_another_url_is_refused_with_a_reason(text: str, words: str) -> None:
    """Other databases, other drivers and memory are refused before anything is opened."""
    with pytest.raises(ValueError, match=words):
        parse_database_url(text)
