"""`csp-bridge upstreams list|add|change|remove`: where the catalogue comes from, in which order and how much of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter, ValidationError

from mdm.audit import Origin
from mdm.catalog.upstreams import (
    UpstreamChange,
    add_upstream,
    change_upstream,
    find_upstream,
    list_upstreams,
    record_upstream,
    remove_upstream,
)
from mdm.clock import utc_now
from mdm.commands.base import CommandError, add_data_dir, open_database, prepare_schema, settings_of
from mdm.errors import Conflict
from mdm.settings import WebUrl
from mdm.upstream.messages import wire_guid

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from sqlalchemy import Connection

    from mdm.catalog.upstreams import UpstreamView

__all__ = ["add_parser"]

_ORIGIN: Final = Origin(actor="command-line")


def add_parser(subparsers: Any) -> None:
    """Add `upstreams` with its verbs."""
    parser = subparsers.add_parser("upstreams", help="list, add, change and remove upstreams")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    _verb(verbs, "list", "list the upstreams in the order they are asked", _list)
    adding = _verb(verbs, "add", "add an upstream", _add)
    adding.add_argument("url", metavar="URL")
    _options(adding)
    changing = _verb(verbs, "change", "change what an upstream is asked for", _change)
    changing.add_argument("upstream", metavar="ID_OR_URL")
    _options(changing)
    removing = _verb(verbs, "remove", "stop asking an upstream; what it gave is kept", _remove)
    removing.add_argument("upstream", metavar="ID_OR_URL")


def _verb(
    verbs: Any,
    name: str,
    words: str,
    work: Callable[[argparse.Namespace, Connection, str | None], str],
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=words, description=words)
    add_data_dir(parser)
    parser.set_defaults(func=_run, work=work)
    return parser


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="what people call it")
    parser.add_argument("--position", type=int, help="place in the order: lower ones are asked first")
    parser.add_argument("--mode", choices=["needed", "filtered"], help="needed (default) or filtered")
    for option, words in (
        ("--product", "product to read in filtered mode, a GUID; may be repeated"),
        ("--classification", "classification to read in filtered mode, a GUID; may be repeated"),
    ):
        parser.add_argument(option, action="append", type=_guid, metavar="GUID", help=words)
    parser.add_argument(
        "--language", action="append", type=int, metavar="LCID", help="language, e.g. 1033; may be repeated"
    )
    parser.add_argument("--minutes", type=int, help="minutes between two scheduled reads")
    switch = parser.add_mutually_exclusive_group()
    switch.add_argument("--enable", dest="enabled", action="store_true", default=None, help="ask it")
    switch.add_argument("--disable", dest="enabled", action="store_false", help="do not ask it for now")
    parser.add_argument(
        "--replica", action="store_true", default=None, help="read its groups and deployments as well"
    )


def _guid(text: str) -> str:
    return wire_guid(text)


def _run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    with open_database(settings) as database:
        prepare_schema(database)
        with database.write() as conn:
            try:
                sys.stdout.write(args.work(args, conn, settings.upstream_url))
            except Conflict as problem:
                raise CommandError(problem.detail) from problem
    return 0


def _list(_args: argparse.Namespace, conn: Connection, settings_url: str | None) -> str:
    upstreams = list_upstreams(conn, settings_url)
    return "".join(map(_line, upstreams)) or "There is no upstream yet.\n"


def _add(args: argparse.Namespace, conn: Connection, settings_url: str | None) -> str:
    try:
        url = TypeAdapter(WebUrl).validate_python(args.url)
    except ValidationError as problem:
        raise CommandError(f"{args.url} {problem.errors()[0]['ctx']['error']}.") from None
    view = add_upstream(conn, settings_url, url, _change_of(args))
    record_upstream(conn, _ORIGIN, before=None, after=view, now=utc_now())
    return _line(view)


def _change(args: argparse.Namespace, conn: Connection, settings_url: str | None) -> str:
    held = _find(args, conn, settings_url)
    view = change_upstream(conn, settings_url, held.url, _change_of(args))
    record_upstream(conn, _ORIGIN, before=held, after=view, now=utc_now())
    return _line(view)


def _remove(args: argparse.Namespace, conn: Connection, settings_url: str | None) -> str:
    held = _find(args, conn, settings_url)
    remove_upstream(conn, settings_url, held.url)
    record_upstream(conn, _ORIGIN, before=held, after=None, now=utc_now())
    return f"{held.url} is no longer asked.\n"


def _find(args: argparse.Namespace, conn: Connection, settings_url: str | None) -> UpstreamView:
    found = find_upstream(conn, settings_url, args.upstream)
    if found is None:
        raise CommandError(f"There is no upstream {args.upstream}.")
    return found


def _change_of(args: argparse.Namespace) -> UpstreamChange:
    def several(values: list[Any] | None) -> tuple[Any, ...] | None:
        return None if values is None else tuple(values)

    return UpstreamChange(
        name=args.name,
        position=args.position,
        enabled=args.enabled,
        mode=args.mode,
        products=several(args.product),
        classifications=several(args.classification),
        languages=several(args.language),
        replica=args.replica,
        interval_minutes=args.minutes,
    )


def _line(view: UpstreamView) -> str:
    selected = (
        f", {len(view.products)} products, {len(view.classifications)} classifications"
        if view.mode == "filtered"
        else ""
    )
    state = "" if view.enabled else ", disabled"
    return f"{view.id}  {view.position}  {view.url}  {view.mode}{selected}{state}\n"
