"""`csp-bridge token create|list|revoke`: the API's bearer tokens."""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from mdm.access.scopes import Scope
from mdm.access.tokens import DEFAULT_LIFETIME, create_token, list_tokens, revoke_token
from mdm.audit import Origin
from mdm.clock import utc_now
from mdm.commands.base import (
    EXIT_FAILED,
    CommandError,
    add_data_dir,
    open_database,
    prepare_schema,
    settings_of,
)
from mdm.errors import NotFound
from mdm.rest.encoding import time_text

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["add_parser"]

_ORIGIN: Final = Origin(actor="command-line")
_MAX_DAYS: Final = 3650
_MAX_NAME: Final = 200


def add_parser(subparsers: Any) -> None:
    """Add `token` and its three verbs."""
    parser = subparsers.add_parser("token", help="make, list and revoke API tokens")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    create = verbs.add_parser("create", help="make a token; it is shown once")
    add_data_dir(create)
    create.add_argument(
        "--name", required=True, type=_name, help="whose token it is; audit rows say client:NAME"
    )
    create.add_argument(
        "--scope",
        required=True,
        action="append",
        dest="scopes",
        choices=[scope.value for scope in Scope],
        metavar="SCOPE",
        help="what it may do, repeatable: " + ", ".join(scope.value for scope in Scope),
    )
    create.add_argument(
        "--expires-days",
        type=_days,
        default=DEFAULT_LIFETIME.days,
        metavar="N",
        help=f"days until it expires, 0 for never (default {DEFAULT_LIFETIME.days})",
    )
    create.add_argument("--plain", action="store_true", help="print the token and nothing else")
    create.set_defaults(func=_create)

    listing = verbs.add_parser("list", help="list all tokens, without their secrets")
    add_data_dir(listing)
    listing.set_defaults(func=_list)

    revoke = verbs.add_parser("revoke", help="refuse a token from now on")
    add_data_dir(revoke)
    revoke.add_argument("id", help="the token's id, as `token list` shows it")
    revoke.set_defaults(func=_revoke)


def _create(args: argparse.Namespace) -> int:
    with open_database(settings_of(args)) as database:
        prepare_schema(database)
        with database.write() as conn:
            token, secret = create_token(
                conn,
                _ORIGIN,
                name=args.name,
                scopes=args.scopes,
                lifetime=timedelta(days=args.expires_days) if args.expires_days else None,
                now=utc_now(),
            )
    if args.plain:
        sys.stdout.write(f"{secret}\n")
        return 0
    sys.stdout.write(
        f"id       {token.id}\n"
        f"name     {token.name}\n"
        f"scopes   {' '.join(token.scopes)}\n"
        f"expires  {_day(token.expires_at)}\n"
        f"token    {secret}\n\n"
        "The token is shown this once; only its hash is stored.\n"
    )
    return 0


def _list(args: argparse.Namespace) -> int:
    now = utc_now()
    with open_database(settings_of(args)) as database:
        prepare_schema(database)
        with database.read() as conn:
            tokens = list_tokens(conn)
    rows = [("ID", "STATE", "EXPIRES", "LAST USED", "NAME", "SCOPES")]
    rows += [
        (
            token.id,
            token.state(now),
            _day(token.expires_at),
            _day(token.last_used_at),
            token.name,
            " ".join(token.scopes),
        )
        for token in tokens
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    return 0


def _revoke(args: argparse.Namespace) -> int:
    with open_database(settings_of(args)) as database:
        prepare_schema(database)
        try:
            with database.write() as conn:
                token = revoke_token(conn, _ORIGIN, args.id, now=utc_now())
        except NotFound as error:
            raise CommandError(error.detail, exit_code=EXIT_FAILED) from None
    sys.stdout.write(f"{token.id} ({token.name}) is revoked.\n")
    return 0


def _name(text: str) -> str:
    name = text.strip()
    if not name or len(name) > _MAX_NAME or not name.isprintable():
        raise argparse.ArgumentTypeError(f"a name has 1 to {_MAX_NAME} printable characters")
    return name


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:10]) > _MAX_DAYS:
        raise argparse.ArgumentTypeError(f"days are a whole number from 0 to {_MAX_DAYS}")
    return int(text)


def _day(moment: datetime | None) -> str:
    return "never" if moment is None else time_text(moment.replace(microsecond=0))
