"""`csp-bridge explain DEVICE UPDATE`: why an update is not installed on a device, in a sentence."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final

from mdm.clock import utc_now
from mdm.commands.base import EXIT_FAILED, CommandError, add_data_dir, open_database, settings_of
from mdm.devices.lookup import MOST, find_devices, find_updates
from mdm.devices.updates import explain_update
from mdm.errors import NotFound
from mdm.rest.encoding import to_json
from mdm.rest.fields import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from mdm.devices.updates import ExplainedUpdate, Since

__all__ = ["add_parser"]

_DESCRIPTION: Final = """\
Say why an update is not installed on a device: one reason, one sentence, and how fresh it is. The same as
GET /api/v1/devices/ID/updates/UPDATE_ID. Exits with 1 if no device or update is meant, or more than one may be."""

_LONGEST: Final = 200
_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400


def add_parser(subparsers: Any) -> None:
    """Add `explain`."""
    parser = subparsers.add_parser(
        "explain", help="say why an update is not installed on a device", description=_DESCRIPTION
    )
    add_data_dir(parser)
    parser.add_argument(
        "device", metavar="DEVICE", type=_text, help="its id, its device_id, its name, or a part of these"
    )
    parser.add_argument(
        "update", metavar="UPDATE", type=_text, help="its UpdateID, KB number, or words of its title"
    )
    parser.add_argument("--json", action="store_true", help="print the document that the API answers")
    parser.set_defaults(func=_explain)


def _text(text: str) -> str:
    if not (0 < len(text.strip()) <= _LONGEST and printable(text)):
        raise argparse.ArgumentTypeError(f"must be one line of 1 to {_LONGEST} characters")
    return text.strip()


def _explain(args: argparse.Namespace) -> int:
    with open_database(settings_of(args)) as database:
        if not database.at_head():
            raise CommandError(
                "The database does not have this release's schema; csp-bridge db upgrade brings it there."
            )
        with database.read() as conn:
            found = _found(conn, args.device, args.update)
    sys.stdout.write(f"{to_json(found).decode()}\n" if args.json else _page(found))
    return 0


def _found(conn: Connection, device_text: str, update_text: str) -> ExplainedUpdate:
    device = _only(
        find_devices(conn, device_text),
        "device",
        device_text,
        lambda each: f"{each.id}  {each.device_id}  {each.name}",
    )
    update = _only(
        find_updates(conn, device.pk, update_text),
        "update",
        update_text,
        lambda each: f"{each.id}  {each.title}",
    )
    try:
        return explain_update(conn, device.pk, update.id, utc_now())
    except NotFound as error:
        raise CommandError(error.detail, exit_code=EXIT_FAILED) from None


def _only(found: Sequence[Any], what: str, text: str, line: Callable[[Any], str]) -> Any:
    """The one that is meant; raises CommandError with the candidates if there is another number of them."""
    if not found:
        raise CommandError(f"There is no {what} {text!r}.", exit_code=EXIT_FAILED)
    if len(found) > 1:
        lines = "".join(f"\n  {line(each)}" for each in found[:MOST])
        more = "\n  and more" if len(found) > MOST else ""
        raise CommandError(
            f"{text!r} may be any of these; name the {what} by its id:{lines}{more}", exit_code=EXIT_FAILED
        )
    return found[0]


def _page(found: ExplainedUpdate) -> str:
    view, fresh = found.update, found.freshness
    title = view.title or "(no metadata)"
    kb = f", KB{view.kb}" if view.kb else ""
    lines = [
        f"Update     {title}{kb} ({view.update_id})",
        f"Device     {found.device_name} ({found.device_id})",
        f"Reason     {view.reason}",
        f"           {view.reason_text}",
    ]
    if view.approval_ids:
        lines.append(f"Approvals  {', '.join(view.approval_ids)}")
    if view.deadline is not None:
        over = ", overdue" if view.overdue else ""
        lines.append(f"Deadline   {view.deadline:%Y-%m-%d %H:%M} UTC{over}")
    lines.append(
        f"As of      {found.as_of:%Y-%m-%d %H:%M} UTC; device seen {_ago(fresh.device_seen)}, scanned "
        f"{_ago(fresh.scanned)}; catalogue synced {_ago(fresh.catalogue_synced)}"
    )
    return "\n".join(lines) + "\n"


def _ago(since: Since) -> str:
    seconds = since.age_seconds
    if seconds is None:
        return "never"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min ago"
    return f"{seconds // _HOUR} h ago" if seconds < 2 * _DAY else f"{seconds // _DAY} days ago"
