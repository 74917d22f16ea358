"""`csp-bridge device enrol|renew|unenrol`: one virtual device joins by MS-MDE2, looks after itself, and leaves.

Each step is one line. What goes wrong is said with the step, the reason and, for a fault, the number that Windows
would show in its place.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from mdm.clock import utc_now
from mdm.commands.base import EXIT_FAILED, CommandError
from mdm.lab.device import Patience
from mdm.lab.enrolling import Applicant, discovery_url, enrol_device
from mdm.lab.enrolment_errors import EnrolmentFailed
from mdm.lab.generate import build_catalogue
from mdm.lab.link import connect
from mdm.lab.muster import FleetOptions, identity_of, make_device, stored
from mdm.lab.renewing import renew_now
from mdm.lab.store import DeviceStore, Link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mdm.lab.device import VirtualDevice
    from mdm.lab.store import DeviceRecord, Identity

__all__ = ["add_enrolment_verbs"]

_SECRET: Final = "CSP_DEVICE_SECRET"  # noqa: S105 - the name of a variable
_BUILDS: Final = {"10": "10.0.19045.6000", "11": "10.0.26100.4652"}
_PATIENCE: Final = Patience(attempts=2)
"""A person waits for the command."""
_MAX_SECRET: Final = 1000
_MAX_NAME: Final = 200
_MAX_DEVICES: Final = 999_999

_ENROL: Final = f"""\
Let a virtual device enrol as Windows does (MS-MDE2): discovery, sign-in, policy, certificate. The password or the
enrolment token is read from the variable {_SECRET}, from --secret-file, or else from standard input, and is
never an argument that others on the machine could see.

To try a bridge on this machine:
  csp-bridge enrol token create --name trial --plain |
    csp-bridge device enrol --domain contoso.test --address 127.0.0.1:8443 --trust data/tls.crt"""


def add_enrolment_verbs(verbs: Any) -> None:
    """Add the verbs to `device`."""
    enrol = _verb(verbs, "enrol", _enrol, "let a virtual device enrol itself by MS-MDE2, over TLS")
    enrol.description = _ENROL
    enrol.formatter_class = argparse.RawDescriptionHelpFormatter
    where = enrol.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--domain", type=_domain, help="ask https://enterpriseenrollment.DOMAIN, as Windows does by itself"
    )
    where.add_argument(
        "--server", type=_server, metavar="URL", help="ask this server, as if it were typed in"
    )
    enrol.add_argument("--user", type=_name, help="user@domain (device@DOMAIN: a token goes with any name)")
    enrol.add_argument("--secret-file", type=Path, metavar="FILE", help="file with the password or the token")
    enrol.add_argument(
        "--address",
        type=_address,
        metavar="HOST:PORT",
        help="connect there, whatever the URL says",
    )
    enrol.add_argument(
        "--trust", type=Path, metavar="FILE", help="PEM file of who is trusted for servers (the system's)"
    )
    enrol.add_argument(
        "--windows",
        choices=sorted(_BUILDS),
        help="have this Windows, with its kind of request (as the seed has it)",
    )
    enrol.add_argument(
        "--device-store",
        action="store_true",
        help="enrol the machine and not its user: EnrollmentType Device, certificate in My/System",
    )
    _verb(verbs, "renew", _renew, "let a virtual device renew its certificate now")
    _verb(verbs, "unenrol", _unenrol, "let a virtual device's user leave management")


def _verb(
    verbs: Any, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text)
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=Path("devices"),
        metavar="DIR",
        help="where the devices keep themselves (default ./devices)",
    )
    parser.add_argument("--seed", type=int, default=1, help="the fleet that the device is of (default 1)")
    parser.add_argument(
        "--number", type=_number, default=1, metavar="N", help="which device of the fleet (default 1)"
    )
    parser.set_defaults(func=run)
    return parser


def _enrol(args: argparse.Namespace) -> int:
    identity, link = _identity(args), Link(address=args.address or "", trust_pem=_trust(args.trust))
    host = args.domain or urlsplit(args.server).hostname
    applicant = Applicant(
        identity=identity,
        username=args.user or f"device@{host}",
        secret=_secret(args.secret_file),
        discovery_url=discovery_url(args.domain, args.server),
        full=not args.device_store,
    )
    store = _store(args)
    former = _former(store, identity)
    _line(
        f"{identity.name} ({identity.os_build}, DeviceID {identity.device_id}) enrols as {applicant.username}."
    )
    with _failing():
        try:
            record = enrol_device(applicant, link, now=utc_now(), say=_line)
        except ValueError as problem:
            raise CommandError(f"{args.trust or 'the trusted certificates'}: {problem}.") from None
    store.save(_rejoined(record, former))
    _line(
        f"Enrolled. Let it poll: csp-bridge device run --state-dir {store.directory}"
        f"{_option('seed', args.seed)}{_option('count', args.number)}"
    )
    return 0


def _rejoined(record: DeviceRecord, former: DeviceRecord | None) -> DeviceRecord:
    """The same machine under a new management: what is installed stays, what the old server has set does not."""
    if former is None:
        return record
    windows = replace(former.windows, policies={}, approved={}, settings=None, leaving=False)
    return replace(record, windows=windows, sessions=former.sessions)


def _renew(args: argparse.Namespace) -> int:
    with _device(args) as device, _failing():
        renew_now(device, utc_now())
        held = device.record.certificate
    assert held is not None  # noqa: S101 - it has just been renewed
    _line(f"{device.record.identity.name} has a new certificate, and shows it from the next session on.")
    return 0


def _unenrol(args: argparse.Namespace) -> int:
    with _device(args) as device:
        report = device.unenrol(utc_now())
    name = device.record.identity.name
    if not device.has_left:
        raise CommandError(
            f"{name} could not tell its server that it leaves ({report.end}: {report.detail}). It says so again at "
            "its next session: csp-bridge device run, or this command once more.",
            exit_code=EXIT_FAILED,
        )
    _line(
        f"{name} has left management. The server was told, and account, certificate and settings are gone here."
    )
    return 0


@contextmanager
def _device(args: argparse.Namespace) -> Iterator[VirtualDevice]:
    """The stored device, with connections that show its certificate."""
    store, identity = _store(args), identity_of(args.seed, args.number - 1)
    record = stored(identity, store)
    if record is None:
        raise CommandError(
            f"{identity.name} is not in {store.directory}. Enrol it with `csp-bridge device enrol`."
        )
    try:
        http = connect(record.link, record.certificate)
    except ValueError as problem:
        raise CommandError(f"{identity.name}: {problem}.") from None
    device = make_device(
        record,
        store,
        build_catalogue(args.seed, utc_now()),
        http=http,
        habits=FleetOptions(seed=args.seed).habits,
        stop=threading.Event(),
        patience=_PATIENCE,
    )
    try:
        yield device
    finally:
        device.http.close()


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except EnrolmentFailed as failure:
        raise CommandError(str(failure), exit_code=EXIT_FAILED) from None


def _identity(args: argparse.Namespace) -> Identity:
    identity = identity_of(args.seed, args.number - 1)
    return identity if args.windows is None else replace(identity, os_build=_BUILDS[args.windows])


def _store(args: argparse.Namespace) -> DeviceStore:
    try:
        return DeviceStore(args.state_dir)
    except OSError as error:
        raise CommandError(f"{args.state_dir} cannot be used: {error.strerror}.") from None


def _former(store: DeviceStore, identity: Identity) -> DeviceRecord | None:
    try:
        return store.load(identity.device_id)
    except ValueError as problem:
        raise CommandError(f"{problem}.") from None


def _secret(path: Path | None) -> str:
    """The password or token, without the end of its line."""
    secret = os.environ.get(_SECRET, "")
    if path is not None:
        secret = _read(path)
    elif not secret:
        secret = sys.stdin.readline(_MAX_SECRET + 2)
    secret = secret.rstrip("\r\n")
    if not 0 < len(secret) <= _MAX_SECRET or not secret.isprintable():
        raise CommandError(
            f"The password or token has to be one line of 1 to {_MAX_SECRET} printable characters, in {_SECRET}, in "
            "--secret-file or on standard input."
        )
    return secret


def _trust(path: Path | None) -> str:
    return "" if path is None else _read(path)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not text.") from None


def _option(name: str, value: int) -> str:
    return "" if value == 1 else f" --{name} {value}"


def _domain(text: str) -> str:
    labels = text.lower().split(".")
    if len(text) > _MAX_NAME or not all(label and label.replace("-", "").isalnum() for label in labels):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no domain such as contoso.com")
    return text.lower()


def _server(text: str) -> str:
    url = text if "//" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
        ok = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        ok = False
    if not ok or not url.isprintable() or " " in url:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no https URL: Windows enrols over TLS only")
    return url


def _address(text: str) -> str:
    try:
        parts = urlsplit(f"//{text}")
        ok = bool(parts.hostname) and parts.port is not None and parts.netloc == text
    except ValueError:
        ok = False
    if not ok:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not HOST:PORT")
    return text


def _name(text: str) -> str:
    if not 0 < len(text) <= _MAX_NAME or not text.isprintable():
        raise argparse.ArgumentTypeError(f"a user name has 1 to {_MAX_NAME} printable characters")
    return text


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:10]) <= _MAX_DEVICES):
        raise argparse.ArgumentTypeError(f"it is a whole number from 1 to {_MAX_DEVICES}")
    return int(text)


def _line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
