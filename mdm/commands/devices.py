"""`csp-bridge devices …`: what is enrolled, and having devices leave management."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_

from mdm.audit import Origin
from mdm.ca.renewal import RenewalPeriod
from mdm.clock import utc_now
from mdm.commands.base import (
    EXIT_FAILED,
    EXIT_USAGE,
    CommandError,
    add_data_dir,
    open_database,
    prepare_schema,
    settings_of,
)
from mdm.devices.certificate import CertificateState, certificate_in_state, certificate_view
from mdm.devices.departure import cancel_retirement, forget, retire
from mdm.devices.lookup import MOST, find_devices
from mdm.devices.management import Management, departure_text, in_state
from mdm.devices.registry import device_pk, get_device, list_devices
from mdm.errors import Conflict
from mdm.rest.encoding import to_json
from mdm.rest.fields import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from mdm.devices.registry import DeviceSummary, DeviceView
    from mdm.settings import Settings

__all__ = ["add_parser"]

_ORIGIN: Final = Origin(actor="command-line")
_LONGEST: Final = 200
_PAGE: Final = 500
"""Devices read at a time."""
_COLUMNS: Final = 80
"""Characters of a line, whatever devices are called."""


def add_parser(subparsers: Any) -> None:
    """Add `devices` with its verbs."""
    parser = subparsers.add_parser("devices", help="list, show, retire and delete devices")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = _verb(verbs, "list", _list, "list devices in order of enrolment")
    listing.add_argument(
        "--state",
        choices=[each.value for each in Management],
        help="only these: %(choices)s",
        metavar="STATE",
    )
    listing.add_argument(
        "--certificate",
        choices=[each.value for each in CertificateState],
        help="only those whose certificate is in this state: %(choices)s",
        metavar="STATE",
    )
    listing.add_argument(
        "--search", type=_text, metavar="TEXT", help="only those with this in a name or number"
    )
    _device(_verb(verbs, "show", _show, "show a device, and how far it is on its way out"))
    leaving = _verb(verbs, "retire", _retire, "have a device leave management at its next session")
    _device(leaving)
    leaving.add_argument(
        "--now",
        action="store_true",
        dest="at_once",
        help="count it as gone: it is not told, and refused from now on (lost, stolen, scrapped)",
    )
    leaving.add_argument("--reason", type=_text, help="for the audit trail")
    _device(_verb(verbs, "cancel-retirement", _cancel, "let a device stay that was to leave"))
    deletion = _verb(verbs, "delete", _delete, "forget a device and all it has reported; it is not told")
    _device(deletion)
    deletion.add_argument("--yes", action="store_true", help="really: there is no way back")


def _verb(
    verbs: Any, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=f"{text.capitalize()}.")
    add_data_dir(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, as the API has it")
    parser.set_defaults(func=run)
    return parser


def _device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("device", metavar="DEVICE", type=_text, help="its id, its device_id or its name")


def _text(text: str) -> str:
    if not (0 < len(text.strip()) <= _LONGEST and printable(text)):
        raise argparse.ArgumentTypeError(f"must be one line of 1 to {_LONGEST} characters")
    return text.strip()


def _list(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    conditions = []
    if args.state is not None:
        conditions.append(in_state(Management(args.state)))
    if args.certificate is not None:
        conditions.append(
            certificate_in_state(CertificateState(args.certificate), _renewal(settings), utc_now())
        )
    with open_database(settings) as database:
        prepare_schema(database)
        with database.read() as conn:
            found = list(_all(conn, and_(*conditions) if conditions else None, args.search))
    if args.json:
        _print_json(found)
        return 0
    sys.stdout.write(_line("ID", "STATE", "LAST SEEN", "NAME"))
    for each in found:
        sys.stdout.write(_line(each.id, each.state, _moment(each.last_checkin_at), each.name))
    return 0


def _renewal(settings: Settings) -> RenewalPeriod:
    return RenewalPeriod.of(timedelta(days=settings.certificate_days))


def _all(
    conn: Connection, condition: ColumnElement[bool] | None, text: str | None
) -> Iterator[DeviceSummary]:
    after: int | None = None
    while True:
        rows = list_devices(conn, q=text, condition=condition, after=after, limit=_PAGE)
        yield from (each for _, each in rows)
        if len(rows) < _PAGE:
            return
        after = rows[-1][0]


def _line(public_id: str, state: str, seen: str, name: str) -> str:
    line = f"{public_id:<24}  {state:<10}  {seen:<20}  {name}"
    return (line if len(line) <= _COLUMNS else f"{line[: _COLUMNS - 1]}…") + "\n"


def _show(args: argparse.Namespace) -> int:
    now = utc_now()
    settings = settings_of(args)
    with open_database(settings) as database:
        prepare_schema(database)
        with database.read() as conn:
            device = get_device(conn, _meant(conn, args.device))
            certificate = certificate_view(conn, device_pk(conn, device.id), _renewal(settings), now)
    departure = departure_text(device, now)
    if args.json:
        _print_json(asdict(device) | {"certificate": certificate, "departure": departure})
        return 0
    for label, value in (
        ("id", device.id),
        ("name", device.name),
        ("device_id", device.device_id),
        ("state", device.state),
        ("enrolled", _moment(device.created_at)),
        ("user", device.enrolment_user or "-"),
        ("last seen", _moment(device.last_checkin_at)),
        ("Windows", " ".join(filter(None, (device.os_edition, device.os_version))) or "not said yet"),
        ("groups", ", ".join(device.groups)),
        ("identity", "its messages" if certificate is None else f"certificate {certificate.serial}"),
        ("updates", ", ".join(f"{count} {state}" for state, count in device.update_counts.items())),
    ):
        sys.stdout.write(f"{label:<10} {value}\n")
    for text in (None if certificate is None else certificate.sentence, departure):
        sys.stdout.write("" if text is None else f"\n{text}\n")
    return 0


def _retire(args: argparse.Namespace) -> int:
    def change(conn: Connection, public_id: str, now: datetime) -> None:
        retire(conn, _ORIGIN, public_id, at_once=args.at_once, reason=args.reason, now=now)

    return _change(args, change)


def _cancel(args: argparse.Namespace) -> int:
    def change(conn: Connection, public_id: str, now: datetime) -> None:
        cancel_retirement(conn, _ORIGIN, public_id, now=now)

    return _change(args, change)


def _change(args: argparse.Namespace, change: Callable[[Connection, str, datetime], None]) -> int:
    """Change one device in one transaction, and say where it stands then."""
    now = utc_now()
    with open_database(settings_of(args)) as database:
        prepare_schema(database)
        try:
            with database.write() as conn:
                public_id = _meant(conn, args.device)
                change(conn, public_id, now)
                device = get_device(conn, public_id)
        except Conflict as error:
            raise CommandError(error.detail, exit_code=EXIT_FAILED) from None
    if args.json:
        _print_json(_standing(device, now))
    else:
        text = departure_text(device, now) or "It stays in management."
        sys.stdout.write(f"{device.name} ({device.id}) is {device.state}.\n{text}\n")
    return 0


def _standing(device: DeviceView, now: datetime) -> dict[str, Any]:
    names = ("id", "state", "retire_requested_at", "retire_told_at", "unenrolled_at")
    return {name: getattr(device, name) for name in names} | {"departure": departure_text(device, now)}


def _delete(args: argparse.Namespace) -> int:
    if not args.yes:
        raise CommandError(
            "This forgets the device and all it has reported, and does not tell it. Retire it first, and delete it when "
            "it has left; or repeat the command with --yes.",
            exit_code=EXIT_USAGE,
        )
    with open_database(settings_of(args)) as database:
        prepare_schema(database)
        with database.write() as conn:
            public_id = _meant(conn, args.device)
            residue = forget(conn, _ORIGIN, public_id, now=utc_now())
    if args.json:
        _print_json({"id": public_id, "residual": residue})
        return 0
    sys.stdout.write(f"{public_id} is deleted.\n" + ("" if residue is None else f"{residue.detail}\n"))
    return 0


def _meant(conn: Connection, text: str) -> str:
    """The id of the device of exactly this id, device_id or name: a part of a name is not enough to send one away."""
    whole = text.lower()
    found = [
        each
        for each in find_devices(conn, text)
        if whole in {each.id.lower(), each.device_id.lower(), each.name.lower()}
    ]
    if not found:
        raise CommandError(f"There is no device {text!r}.", exit_code=EXIT_FAILED)
    if len(found) > 1:
        lines = "".join(f"\n  {each.id}  {each.device_id}  {each.name}" for each in found[:MOST])
        more = "\n  and more" if len(found) > MOST else ""
        raise CommandError(
            f"{text!r} may be any of these; name the device by its id:{lines}{more}", exit_code=EXIT_FAILED
        )
    return found[0].id


def _print_json(value: Any) -> None:
    sys.stdout.write(f"{to_json(value).decode()}\n")


def _moment(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"
