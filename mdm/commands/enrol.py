"""`csp-bridge enrol token|user|schedule …`: who may enrol a device, with what, and what it is told."""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from mdm.audit import Origin
from mdm.clock import utc_now
from mdm.commands import enrol_schedule
from mdm.commands.base import (
    EXIT_FAILED,
    CommandError,
    add_data_dir,
    open_database,
    prepare_schema,
    settings_of,
)
from mdm.enrolment.passwords import make_password
from mdm.enrolment.tokens import (
    DEFAULT_HOURS,
    MAX_HOURS,
    MAX_USES,
    create_token,
    list_tokens,
    qr_payload,
    revoke_token,
)
from mdm.enrolment.users import (
    MAX_DEVICES,
    change_user,
    create_user,
    delete_user,
    list_users,
    set_password,
    username_key,
)
from mdm.errors import Conflict, NotFound
from mdm.rest.encoding import time_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.enrolment.users import UserView

__all__ = ["add_parser"]

_ORIGIN: Final = Origin(actor="command-line")
_COLUMNS: Final = 80
"""Characters of a line of a table, whatever people are called."""
_MAX_NAME: Final = 200


def add_parser(subparsers: Any) -> None:
    """Add `enrol` with its kinds and their verbs."""
    parser = subparsers.add_parser("enrol", help="say who may enrol devices")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    _add_tokens(kinds.add_parser("token", help="one-time passwords"))
    _add_users(kinds.add_parser("user", help="people with a password"))
    enrol_schedule.add_kind(kinds)


def _add_tokens(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    create = _verb(verbs, "create", _create_token, "make a token; it is shown once")
    create.add_argument("--name", required=True, type=_name, help="what it is for")
    create.add_argument("--user", type=_name, help="the only user name it goes with (any)")
    create.add_argument(
        "--uses", type=_number(MAX_USES), default=1, metavar="N", help="devices it may enrol (1)"
    )
    create.add_argument(
        "--hours",
        type=_number(MAX_HOURS),
        default=DEFAULT_HOURS,
        metavar="N",
        help=f"hours until it expires ({DEFAULT_HOURS})",
    )
    create.add_argument(
        "--replaces", action="store_true", help="it may enrol what somebody else has enrolled"
    )
    create.add_argument("--plain", action="store_true", help="print the token and nothing else")
    _verb(verbs, "list", _list_tokens, "list all tokens, without their secrets")
    revoke = _verb(verbs, "revoke", _revoke_token, "refuse a token from now on")
    revoke.add_argument("id", help="the token's id, as `enrol token list` shows it")


def _add_users(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    create = _verb(verbs, "create", _create_user, "make a user with a random password, shown once")
    create.add_argument("username", type=_name, help="as typed on the device, such as user@example.com")
    create.add_argument("--max-devices", type=_number(MAX_DEVICES), metavar="N", help="(any number)")
    _verb(verbs, "list", _list_users, "list all users")
    for name, run, text in (
        ("password", _password, "make another random password, and end a lockout"),
        ("disable", _disable, "let the user enrol no more devices"),
        ("enable", _enable, "let the user enrol devices again"),
        ("delete", _delete, "delete the user; devices he has enrolled stay"),
    ):
        _verb(verbs, name, run, text).add_argument("username", help="as `enrol user list` shows it")


def _verb(
    verbs: Any, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text)
    add_data_dir(parser)
    parser.set_defaults(func=run)
    return parser


def _create_token(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    with open_database(settings) as database:
        prepare_schema(database)
        with database.write() as conn:
            token, secret = create_token(
                conn,
                _ORIGIN,
                name=args.name,
                username=args.user,
                max_uses=args.uses,
                replaces=args.replaces,
                lifetime=timedelta(hours=args.hours),
                now=utc_now(),
            )
    if args.plain:
        sys.stdout.write(f"{secret}\n")
        return 0
    link = "set BRIDGE_PUBLIC_URL to get one"
    if settings.public_url is not None:
        link = qr_payload(settings.public_url, secret, token.username)
    sys.stdout.write(
        f"id       {token.id}\n"
        f"name     {token.name}\n"
        f"user     {token.username or 'any'}\n"
        f"devices  {token.max_uses}\n"
        f"expires  {_moment(token.expires_at)}\n"
        f"token    {secret}\n"
        f"QR code  {link}\n\n"
        "The token is shown this once; only its hash is stored. It is typed where\nWindows asks for the password.\n"
    )
    return 0


def _list_tokens(args: argparse.Namespace) -> int:
    now = utc_now()
    with open_database(settings_of(args)) as database:
        prepare_schema(database)
        with database.read() as conn:
            tokens = list_tokens(conn)
    _table(
        ("ID", "STATE", "DEVICES", "EXPIRES", "USER", "NAME"),
        [
            (
                token.id,
                token.state(now),
                f"{token.uses}/{token.max_uses}",
                f"{token.expires_at:%Y-%m-%d %H:%M}",
                token.username or "any",
                token.name,
            )
            for token in tokens
        ],
    )
    return 0


def _revoke_token(args: argparse.Namespace) -> int:
    with open_database(settings_of(args)) as database:
        prepare_schema(database)
        try:
            with database.write() as conn:
                token = revoke_token(conn, _ORIGIN, args.id, now=utc_now())
        except NotFound as error:
            raise CommandError(error.detail, exit_code=EXIT_FAILED) from None
    sys.stdout.write(f"{token.id} ({token.name}) is revoked.\n")
    return 0


def _create_user(args: argparse.Namespace) -> int:
    password = make_password()
    with open_database(settings_of(args)) as database:
        prepare_schema(database)
        try:
            with database.write() as conn:
                user = create_user(
                    conn,
                    _ORIGIN,
                    username=args.username,
                    password=password,
                    max_devices=args.max_devices,
                    now=utc_now(),
                )
        except Conflict as error:
            raise CommandError(error.detail, exit_code=EXIT_FAILED) from None
    _show_password(user, password)
    return 0


def _list_users(args: argparse.Namespace) -> int:
    with open_database(settings_of(args)) as database:
        prepare_schema(database)
        with database.read() as conn:
            users = list_users(conn)
    _table(
        ("USER", "STATE", "DEVICES", "LAST USED", "ID"),
        [
            (
                user.username,
                "enabled" if user.enabled else "disabled",
                "any" if user.max_devices is None else f"up to {user.max_devices}",
                "never" if user.last_used_at is None else f"{user.last_used_at:%Y-%m-%d}",
                user.id,
            )
            for user in users
        ],
    )
    return 0


def _password(args: argparse.Namespace) -> int:
    password = make_password()
    user = _change(
        args, lambda conn, user: set_password(conn, _ORIGIN, user.id, password=password, now=utc_now())
    )
    _show_password(user, password)
    return 0


def _disable(args: argparse.Namespace) -> int:
    return _enabled(args, enabled=False)


def _enable(args: argparse.Namespace) -> int:
    return _enabled(args, enabled=True)


def _enabled(args: argparse.Namespace, *, enabled: bool) -> int:
    user = _change(
        args,
        lambda conn, user: change_user(
            conn, _ORIGIN, user.id, enabled=enabled, max_devices=user.max_devices, now=utc_now()
        ),
    )
    sys.stdout.write(f"{user.username} is {'enabled' if enabled else 'disabled'}.\n")
    return 0


def _delete(args: argparse.Namespace) -> int:
    user = _change(args, _deleted)
    sys.stdout.write(f"{user.username} is deleted.\n")
    return 0


def _deleted(conn: Connection, user: UserView) -> UserView:
    delete_user(conn, _ORIGIN, user.id, now=utc_now())
    return user


def _change(args: argparse.Namespace, change: Callable[[Connection, UserView], UserView]) -> UserView:
    """Change the user that the command names, in one transaction."""
    with open_database(settings_of(args)) as database:
        prepare_schema(database)
        with database.write() as conn:
            key = username_key(args.username)
            for user in list_users(conn):
                if username_key(user.username) == key:
                    return change(conn, user)
    raise CommandError(f"There is no enrolment user {args.username!r}.", exit_code=EXIT_FAILED)


def _show_password(user: UserView, password: str) -> None:
    sys.stdout.write(
        f"user      {user.username}\npassword  {password}\n\n"
        "The password is shown this once; only its hash is stored.\n"
    )


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    rows = [head, *body]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        line = "  ".join(cells).rstrip()
        sys.stdout.write(f"{line if len(line) <= _COLUMNS else f'{line[: _COLUMNS - 1]}…'}\n")


def _name(text: str) -> str:
    name = text.strip()
    if not name or len(name) > _MAX_NAME or not name.isprintable():
        raise argparse.ArgumentTypeError(f"a name has 1 to {_MAX_NAME} printable characters")
    return name


def _number(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:10]) <= most:
            raise argparse.ArgumentTypeError(f"it is a whole number from 1 to {most}")
        return int(text)

    return read


def _moment(moment: datetime | None) -> str:
    return "never" if moment is None else time_text(moment.replace(microsecond=0))
