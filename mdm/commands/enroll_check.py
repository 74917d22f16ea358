"""`csp-bridge enroll-check`: whether DNS, TLS and the endpoints are as Windows needs them to enrol."""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mdm.clock import utc_now
from mdm.commands.base import EXIT_FAILED, CommandError
from mdm.readiness.domain_check import check_domain
from mdm.readiness.server_check import Level, Target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mdm.readiness.server_check import Finding

__all__ = ["add_parser"]

_COLUMNS: Final = 80
_INDENT: Final = " " * 9
_MAX_FILE: Final = 4 * 1024 * 1024
_MAX_SECONDS: Final = 120
_MAX_PORT: Final = 65535
_MAX_DOMAIN: Final = 253 - len("enterpriseenrollment.")
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_ADDRESS: Final = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:/\[\]]+)):([0-9]{1,5})", re.ASCII)

_DESCRIPTION: Final = """\
Look at DNS, TLS and each endpoint as a PC would before it enrols, and say of each whether it will do. No credentials
are sent and nothing is changed. Run it in the network of the PCs: it sees what this machine sees, and trusts the
authorities that this machine trusts unless --trust names others.

Exit code 0: nothing failed (there may be warnings); 1: something failed; 2: the check could not run."""


def add_parser(subparsers: Any) -> None:
    """Add `enroll-check`."""
    parser = subparsers.add_parser(
        "enroll-check",
        help="say whether DNS, TLS and the endpoints are as Windows needs them",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--domain", required=True, type=_domain, help="what stands behind the @ of the users' addresses"
    )
    parser.add_argument(
        "--address",
        type=_address,
        metavar="HOST:PORT",
        help="connect here for every name, before DNS is changed",
    )
    parser.add_argument(
        "--trust",
        type=Path,
        metavar="FILE",
        help="PEM file of the authorities that PCs trust (those of this machine)",
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=10, metavar="N", help="time limit of each step (10)"
    )
    parser.add_argument("--json", action="store_true", help="write one JSON document, for programs")
    parser.set_defaults(func=_check)


def _check(args: argparse.Namespace) -> int:
    target = Target(args.domain, args.address, _trust(args.trust), args.seconds)
    findings: Iterable[Finding] = check_domain(target, utc_now)
    worst = {Level.FAILED: 0, Level.WARNING: 0, Level.OK: 0}
    seen = []
    for finding in findings:
        worst[finding.level] += 1
        seen.append(finding)
        if not args.json:
            sys.stdout.write(_described(finding))
            sys.stdout.flush()  # a step may take its whole time limit: what is known by then is shown
    if args.json:
        document = {
            "domain": target.domain,
            "ready": worst[Level.FAILED] == 0,
            "findings": [asdict(finding) for finding in seen],
        }
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(_summary(worst))
    return EXIT_FAILED if worst[Level.FAILED] else 0


def _described(finding: Finding) -> str:
    lines = [f"{finding.level:<8} {_clean(finding.looked_at)}", *_wrapped(_clean(finding.why))]
    if finding.remedy is not None:
        lines += _wrapped(f"-> {finding.remedy}")
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _COLUMNS,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _clean(text: str) -> str:
    """Text with a server's words in it, without what could move a terminal's cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _summary(count: dict[Level, int]) -> str:
    failed, warnings = count[Level.FAILED], count[Level.WARNING]
    if failed:
        return f"\nWindows cannot enrol so: {failed} failed, {warnings} to look at.\n"
    if warnings:
        return f"\nWindows can enrol; {warnings} to look at.\n"
    return "\nWindows can enrol, as far as it can be seen from here.\n"


def _trust(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            found = x509.load_pem_x509_certificates(file.read(_MAX_FILE))
    except ValueError:
        raise CommandError(f"There is no PEM certificate of an authority in {path}.") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
    return "".join(each.public_bytes(Encoding.PEM).decode("ascii") for each in found)


def _domain(text: str) -> str:
    try:
        domain = text.strip().rstrip(".").encode("idna").decode("ascii").lower()
    except UnicodeError:
        domain = ""
    if len(domain) > _MAX_DOMAIN or _DOMAIN.fullmatch(domain) is None:
        raise argparse.ArgumentTypeError("it is the domain of the users' addresses, such as example.com")
    return domain


def _address(text: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(text)
    if found is None or not 1 <= int(found[3]) <= _MAX_PORT:
        raise argparse.ArgumentTypeError("it is HOST:PORT, such as 192.0.2.1:443 or [2001:db8::1]:443")
    return found[1] or found[2], int(found[3])


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:5]) <= _MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"it is a whole number from 1 to {_MAX_SECONDS}")
    return int(text)
