"""`csp-bridge db upgrade|check`: the database's schema."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mdm.commands.base import EXIT_FAILED, CommandError, add_data_dir, open_database, settings_of

if TYPE_CHECKING:
    import argparse

__all__ = ["add_parser"]


def add_parser(subparsers: Any) -> None:
    """Add `db` and its two verbs."""
    parser = subparsers.add_parser("db", help="upgrade or check the database's schema")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    upgrade = verbs.add_parser("upgrade", help="bring the database to this release's schema")
    add_data_dir(upgrade)
    upgrade.set_defaults(func=_upgrade)
    check = verbs.add_parser("check", help="exit with 1 if the schema is not this release's")
    add_data_dir(check)
    check.set_defaults(func=_check)


def _upgrade(args: argparse.Namespace) -> int:
    with open_database(settings_of(args)) as database:
        database.migrate()
    sys.stdout.write("The database has this release's schema.\n")
    return 0


def _check(args: argparse.Namespace) -> int:
    with open_database(settings_of(args)) as database:
        at_head = database.at_head()
    if not at_head:
        raise CommandError(
            "The database does not have this release's schema; csp-bridge db upgrade brings it there.",
            exit_code=EXIT_FAILED,
        )
    sys.stdout.write("The database has this release's schema.\n")
    return 0
