"""`csp-bridge ca create|show|import|issued|revoke|crl`: the authority that the devices' certificates come from."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import secrets
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from mdm.audit import Origin
from mdm.ca.authority import Authority, create_material, install, load_all
from mdm.ca.chain import read_material
from mdm.ca.errors import CaError
from mdm.ca.issued import REASONS, list_issued, revoke
from mdm.clock import utc_now
from mdm.commands.base import (
    EXIT_FAILED,
    CommandError,
    add_data_dir,
    open_database,
    prepare_schema,
    secret_box,
    settings_of,
)
from mdm.errors import Conflict, NotFound
from mdm.rest.encoding import time_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.ca.keys import AuthorityKey
    from mdm.storage.secrets import SecretBox

__all__ = ["add_parser"]

_ISSUED: Final = "{:<24}  {:<40}  {}\n"
"""A line of 78 characters: what `revoke` wants to be told stands there whole."""
_ORIGIN: Final = Origin(actor="command-line")
_MAX_YEARS: Final = 30
_MAX_LIMIT: Final = 100_000
_MAX_FILE: Final = 1024 * 1024
_MAX_NAME: Final = 56
"""With " Devices" behind it a name has 64 characters, which is as long as a certificate's may be."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*", re.ASCII)
_SERIAL: Final = re.compile(r"[0-9a-f]{1,40}", re.ASCII)
_OWNER_ONLY: Final = 0o600

_CREATE: Final = """\
Make the certificate authority whose certificates prove devices. Its key is stored in the database, encrypted with the
key file beside it: keep a copy of both.

With --intermediate a root is made that signs one intermediate authority, which issues. The root's key is written to
a file of your own (--root-key-out) and stored nowhere else: carry it away, and protect it with --passphrase-file."""


def add_parser(subparsers: Any) -> None:
    """Add `ca` and its six verbs."""
    parser = subparsers.add_parser("ca", help="make, import and show the certificate authority")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    create = _verb(verbs, "create", "make the certificate authority", _create)
    create.description = _CREATE
    create.formatter_class = argparse.RawDescriptionHelpFormatter
    create.add_argument(
        "--name", type=_name, default="CSP Bridge", help="its common name (default CSP Bridge)"
    )
    create.add_argument(
        "--years",
        type=_number("years", _MAX_YEARS),
        default=10,
        metavar="N",
        help="its validity (default 10)",
    )
    create.add_argument("--intermediate", action="store_true", help="issue from an intermediate authority")
    create.add_argument("--root-key-out", type=Path, metavar="FILE", help="new file for the root's key")
    _take_over(create)

    importing = _verb(verbs, "import", "use the organisation's own certificate authority", _import)
    importing.add_argument(
        "--key", type=Path, required=True, metavar="FILE", help="key of the issuing certificate, in PEM"
    )
    importing.add_argument(
        "--chain", type=Path, required=True, metavar="FILE", help="its certificate and the root's, in PEM"
    )
    _take_over(importing)

    show = _verb(verbs, "show", "say which authority issues, and which ones it has replaced", _show)
    show.add_argument(
        "--pem", action="store_true", help="write the certificates of the one that issues, and nothing else"
    )

    issued = _verb(verbs, "issued", "list issued certificates, newest first", _issued)
    issued.add_argument("--device", metavar="ID", help="only those of this device: its id, or its DeviceID")
    issued.add_argument(
        "--thumbprint", type=_thumbprint, metavar="HEX", help="only the one that Windows shows so"
    )
    issued.add_argument(
        "--limit",
        type=_number("limit", _MAX_LIMIT),
        default=100,
        metavar="N",
        help="at most so many (default 100)",
    )

    revoking = _verb(verbs, "revoke", "refuse a certificate from now on", _revoke)
    revoking.add_argument("serial", type=_serial, help="its serial number, as `ca issued` shows it")
    revoking.add_argument(
        "--reason", choices=REASONS, default="unspecified", help="why (default unspecified)"
    )

    crl = _verb(verbs, "crl", "write the revocation list, for a proxy that checks certificates itself", _crl)
    crl.add_argument(
        "--format",
        choices=["pem", "der"],
        default="pem",
        help="pem: that of the one that issues, then of each it replaced that is still valid (default); der: of the one that issues",
    )
    crl.add_argument(
        "--out", type=Path, metavar="FILE", help="replace this file instead of writing to stdout"
    )


def _verb(
    verbs: Any, name: str, words: str, work: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=words, description=words)
    add_data_dir(parser)
    parser.set_defaults(func=work)
    return parser


def _take_over(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="file whose first line protects the key"
    )
    parser.add_argument(
        "--replace", action="store_true", help="issue from the new one; certificates of the old one stay good"
    )


# --- the verbs ------------------------------------------------------------------------------------------


def _create(args: argparse.Namespace) -> int:
    if args.intermediate != (args.root_key_out is not None):
        raise CommandError("--intermediate and --root-key-out belong together.")
    if args.passphrase_file is not None and not args.intermediate:
        raise CommandError("--passphrase-file protects the root's key, which only --intermediate gives away.")
    passphrase = _passphrase(args)
    now = utc_now()
    with _work(args, writing=True) as (conn, box):
        material, root_key = create_material(
            args.name, lifetime=timedelta(days=365 * args.years), with_intermediate=args.intermediate, now=now
        )
        made = install(conn, _ORIGIN, box, material, kind="created", instead=args.replace, now=now)
        # The last step before the commit: an authority whose root has no key is worse than a file too many.
        if root_key is not None:
            _write_new(args.root_key_out, _pem(root_key, passphrase))
    sys.stdout.write(_described(made))
    if root_key is not None:
        sys.stdout.write(f"\nThe root's key is in {args.root_key_out}, and nowhere else.\n")
    return 0


def _import(args: argparse.Namespace) -> int:
    passphrase = _passphrase(args)
    key, chain = _read(args.key), _read(args.chain)
    now = utc_now()
    with _work(args, writing=True) as (conn, box):
        material = read_material(key, chain, passphrase, now)
        made = install(conn, _ORIGIN, box, material, kind="imported", instead=args.replace, now=now)
    sys.stdout.write(_described(made) + _ending([made], args, now))
    return 0


def _show(args: argparse.Namespace) -> int:
    with _work(args) as (conn, box):
        if args.pem:
            authority = Authority.load(conn, box)
            certificates = (authority.intermediate, authority.root)
            text = "".join(_certificate_pem(each) for each in certificates if each is not None)
        else:
            found = load_all(conn, box)
            text = "\n".join(map(_described, found)) + _ending(found, args, utc_now())
    sys.stdout.write(text or "There is no certificate authority yet.\n")
    return 0


def _issued(args: argparse.Namespace) -> int:
    now = utc_now()
    with _work(args) as (conn, _):
        found = list_issued(conn, limit=args.limit, device=args.device, thumbprint=args.thumbprint)
        if not found and args.device is not None:
            found = list_issued(conn, limit=args.limit, device_id=args.device, thumbprint=args.thumbprint)
    sys.stdout.write(_ISSUED.format("DEVICE", "SERIAL", "GOOD UNTIL"))
    for each in found:
        state = each.state(now)
        end = f"{each.not_after:%Y-%m-%d}" if state == "active" else state
        sys.stdout.write(_ISSUED.format(each.device or "-", each.serial, end))
    return 0


def _revoke(args: argparse.Namespace) -> int:
    now = utc_now()
    with _work(args, writing=True) as (conn, _):
        one = revoke(conn, _ORIGIN, args.serial, args.reason, now)
    when = "is revoked" if one.revoked_at == now else f"was revoked at {_day(one.revoked_at)}"
    sys.stdout.write(f"{one.serial} ({one.subject}) {when}, reason {one.revocation_reason}.\n")
    return 0


def _crl(args: argparse.Namespace) -> int:
    now = utc_now()
    with _work(args) as (conn, box):
        issuing = Authority.load(conn, box)
        if args.format == "der":
            data = issuing.crl(conn, now)
        else:
            others = [each for each in load_all(conn, box) if each.id != issuing.id and each.not_after >= now]
            lists = [each.crl(conn, now) for each in (issuing, *others)]
            data = b"".join(x509.load_der_x509_crl(each).public_bytes(Encoding.PEM) for each in lists)
    if args.out is not None:
        _replace(args.out, data)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
    return 0


# --- what they share ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _work(args: argparse.Namespace, *, writing: bool = False) -> Iterator[tuple[Connection, SecretBox]]:
    """A transaction and the secret box; what the administrator can mend becomes one sentence."""
    settings = settings_of(args)
    with open_database(settings) as database:
        prepare_schema(database)
        try:
            with database.write() if writing else database.read() as conn:
                yield conn, secret_box(settings)
        except (CaError, Conflict) as error:
            raise CommandError(error.detail) from error
        except NotFound as error:
            raise CommandError(error.detail, exit_code=EXIT_FAILED) from error


def _described(authority: Authority) -> str:
    state = "issues" if authority.replaced_at is None else f"replaced {_day(authority.replaced_at)}"
    lines = [
        ("id", authority.id),
        ("state", f"{state}, {authority.origin} {_day(authority.created_at)}"),
        ("valid", f"until {_day(authority.not_after)}"),
    ]
    for name, certificate in (("root", authority.root), ("intermediate", authority.intermediate)):
        if certificate is not None:
            encoded = certificate.public_bytes(Encoding.DER)
            lines += [
                (name, certificate.subject.rfc4514_string()),
                ("  sha256", hashlib.sha256(encoded).hexdigest()),
                ("  sha1", hashlib.sha1(encoded, usedforsecurity=False).hexdigest()),
            ]
    return "".join(f"{name:<13} {value}\n" for name, value in lines)


def _ending(authorities: Sequence[Authority], args: argparse.Namespace, now: datetime) -> str:
    """What to know about the authority that issues, if it ends before the certificates that it would issue now."""
    days = settings_of(args).certificate_days
    if all(
        each.replaced_at is not None or each.not_after >= now + timedelta(days=days) for each in authorities
    ):
        return ""
    return (
        f"\nThe authority that issues ends within {days} days (BRIDGE_CERTIFICATE_DAYS), and\nthe devices' certificates end "
        "with it. Replace it in time: --replace.\n"
    )


def _certificate_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def _pem(key: AuthorityKey, passphrase: bytes | None) -> bytes:
    protection = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def _day(moment: datetime | None) -> str:
    return "never" if moment is None else time_text(moment.replace(microsecond=0))


# --- files ----------------------------------------------------------------------------------------------


def _passphrase(args: argparse.Namespace) -> bytes | None:
    if args.passphrase_file is None:
        return None
    line = _read(args.passphrase_file).split(b"\n", 1)[0].rstrip(b"\r")
    if not line:
        raise CommandError(f"{args.passphrase_file} holds no passphrase in its first line.")
    return line


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > _MAX_FILE:
        raise CommandError(f"{path} is too large.")
    return data


def _write_new(path: Path, data: bytes) -> None:
    """Write a secret to a file that must not be there yet, readable by nobody else from its first moment on."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, _OWNER_ONLY)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error


def _replace(path: Path, data: bytes) -> None:
    """Put a new file in the place of another, whole or not at all: a proxy may read it at any moment."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            draft.write_bytes(data)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error


# --- option values --------------------------------------------------------------------------------------


def _name(text: str) -> str:
    if len(text) > _MAX_NAME or _NAME.fullmatch(text) is None or text != text.strip():
        raise argparse.ArgumentTypeError(
            f"a name has 1 to {_MAX_NAME} letters, digits, blanks and . _ - and begins with a letter or digit"
        )
    return text


def _number(what: str, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:10]) <= most:
            raise argparse.ArgumentTypeError(f"{what} is a whole number from 1 to {most}")
        return int(text)

    return number


def _serial(text: str) -> str:
    serial = text.replace(":", "").lower()
    if _SERIAL.fullmatch(serial) is None:
        raise argparse.ArgumentTypeError("a serial number has up to 40 hexadecimal digits")
    return serial.zfill(40)


def _thumbprint(text: str) -> str:
    thumbprint = text.replace(":", "").replace(" ", "").upper()
    if re.fullmatch(r"[0-9A-F]{40}", thumbprint) is None:
        raise argparse.ArgumentTypeError("a thumbprint has 40 hexadecimal digits")
    return thumbprint
