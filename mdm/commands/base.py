"""What the commands share: settings from options, a database whose schema is right, errors of one line."""

from __future__ import annotations

import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from sqlalchemy import inspect

from mdm.log import configure_logging
from mdm.settings import load_settings
from mdm.storage.engine import Database
from mdm.storage.secrets import SecretBox, parse_key

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mdm.settings import Settings

__all__ = [
    "EXIT_FAILED",
    "EXIT_USAGE",
    "CommandError",
    "add_data_dir",
    "open_database",
    "prepare_schema",
    "secret_box",
    "settings_of",
]

EXIT_FAILED: Final = 1
"""The command ran, and the answer is no."""
EXIT_USAGE: Final = 2
"""The command could not run: options, settings, a port in use, a database of a newer release."""

log = structlog.get_logger(__name__)


class CommandError(Exception):
    """Why a command cannot go on, in one sentence for people."""

    def __init__(self, sentence: str, *, exit_code: int = EXIT_USAGE) -> None:
        """`exit_code` is the process's."""
        super().__init__(sentence)
        self.exit_code = exit_code


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Add the option that every command has."""
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="directory of the embedded database and the key file (BRIDGE_DATA_DIR, or ./data)",
    )


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings, with this command's options over the environment; raises `SettingsError`.

    From here on warnings go to stderr: stdout is for what the command was asked for.
    """
    names = ("host", "port", "data_dir", "tls", "tls_cert_file", "tls_key_file", "tls_client_ca_file")
    settings = load_settings(**{name: getattr(args, name, None) for name in names})
    configure_logging(settings.log_format, "warning", sys.stderr)
    return settings


def secret_box(settings: Settings) -> SecretBox:
    """What opens stored secrets: with the key of the settings, or else that of the key file, made if it is missing.

    Raises Unavailable where the file cannot be used.
    """
    if settings.secret_key is not None:
        return SecretBox(parse_key(settings.secret_key.get_secret_value()))
    path = settings.data_dir / "secret.key"
    box = SecretBox.from_file(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        log.warning("key_file_open_to_others", path=str(path), mode=f"{mode:04o}", want="0600")
    return box


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The configured database, closed at the end."""
    database = Database(settings.resolved_database_url, pool_size=settings.database_pool_size)
    try:
        yield database
    finally:
        database.close()


def prepare_schema(database: Database) -> None:
    """Bring an embedded or an empty database to this release's schema; raises Unavailable if it is a newer one's.

    A PostgreSQL database with an older schema is left alone: it may serve other processes, and
    `csp-bridge db upgrade` is the administrator's to run.
    """
    if database.dialect == "sqlite" or _is_empty(database):
        database.migrate()
    elif not database.at_head():
        log.warning("schema_not_at_head", remedy="csp-bridge db upgrade")


def _is_empty(database: Database) -> bool:
    with database.read() as conn:
        return not inspect(conn).has_table("alembic_version")
