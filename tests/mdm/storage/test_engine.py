"""`Database` itself; what it promises of both databases is in test_conformance.py."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from mdm.storage import migration
from mdm.storage.engine import Database
from mdm.storage.migration import migration_config

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_is_opened_before_it_is_needed(data_dir: Path) -> None:
    """Making the object touches neither disk nor network."""
    Database(f"sqlite:///{data_dir}/bridge.sqlite3").close()
    Database("postgresql://nobody@127.0.0.1:1/nothing").close()
    assert not data_dir.exists()


@pytest.mark.parametrize(
    ("url", "dialect"),
    [("sqlite:///x.sqlite3", "sqlite"), ("postgres://h/d", "postgresql"), ("postgresql://h/d", "postgresql")],
)
def test_the_dialect_is_one_of_two_words(url: str, dialect: str) -> None:
    """Code that must tell the databases apart asks `dialect`."""
    assert Database(url).dialect == dialect


def test_an_unsupported_url_is_refused_at_once() -> None:
    """A wrong URL is a configuration mistake, not an outage."""
    with pytest.raises(ValueError, match="names the database mysql"):
        Database("mysql://h/d")


def test_a_password_is_not_shown() -> None:
    """A Database may be logged."""
    shown = repr(Database("postgresql://u:c4nary@h/d"))
    assert shown == "Database('postgresql+psycopg://u:***@h/d')"


def test_migrations_are_found_under_any_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A percent sign in the installation's path is not taken for interpolation."""
    monkeypatch.setattr(migration, "files", lambda name: f"/opt/100%/{name}")
    assert migration_config().get_main_option("script_location") == "/opt/100%/migrations"
    monkeypatch.undo()
    assert migration_config().get_main_option("script_location") == str(files("migrations"))
