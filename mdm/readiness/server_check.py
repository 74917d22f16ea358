"""A host of the enrolment as a PC meets it: its name, its port, TLS, and the certificate it shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from mdm.readiness.probe import Deadline, Unanswered, flight, resolve, verdict
from mdm.readiness.server_certificate import Reading, read_chain

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from datetime import datetime

    from mdm.readiness.probe import Endpoint

__all__ = ["Finding", "Level", "Target", "check_server"]

_DAYS: Final = 14
"""Left of a certificate's time: one that renews itself has done so by then."""


class Level(StrEnum):
    """How a finding turned out."""

    OK = "ok"
    WARNING = "warning"
    """It may work, or works for now."""
    FAILED = "failed"
    """Enrolment cannot work so."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    step: str
    """A word for programs: `dns`, `tls`, `discover`, ..."""
    level: Level
    looked_at: str
    why: str
    """One sentence."""
    remedy: str | None = None
    """One sentence; None where there is nothing to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be checked, and how."""

    domain: str
    """What stands behind the @ of the users' addresses."""
    address: tuple[str, int] | None = None
    """Where every host is taken to be, before DNS knows; None asks DNS."""
    trust: str | None = None
    """PEM text of authorities that count in place of this machine's."""
    seconds: float = 10
    """For each step."""
    http: tuple[str, int] | None = None
    """Where plain HTTP is tried, if not at port 80 of the host."""

    @property
    def host(self) -> str:
        """The name that Windows makes of the domain."""
        return f"enterpriseenrollment.{self.domain}"

    def deadline(self) -> Deadline:
        """That of the next step."""
        return Deadline(self.seconds)


def check_server(
    target: Target, endpoint: Endpoint, clock: Callable[[], datetime]
) -> Generator[Finding, None, Endpoint | None]:
    """Return the host with its addresses; None if nothing answers there."""
    place, port = (endpoint.host, endpoint.port) if target.address is None else target.address
    try:
        name, addresses = resolve(place, target.deadline())
    except Unanswered as problem:
        yield Finding(
            "dns",
            Level.FAILED,
            place,
            f"The name does not resolve: {problem}.",
            f"Make a CNAME record {endpoint.host} that names the server, in the DNS that the PCs ask; until then "
            "--address HOST:PORT checks the rest.",
        )
        return None
    if target.address is not None:
        why = f"DNS is not asked: it is taken to be at {place}:{port}."
    else:
        alias = "" if name.lower() == endpoint.host.lower() else f"{name}, "
        why = f"It resolves to {alias}{', '.join(addresses[:4])}."
    yield Finding("dns", Level.OK, endpoint.host, why)
    found = replace(endpoint, addresses=tuple((each, port) for each in addresses))
    return (yield from _tls(target, found, clock))


def _tls(
    target: Target, endpoint: Endpoint, clock: Callable[[], datetime]
) -> Generator[Finding, None, Endpoint | None]:
    where = str(endpoint)
    try:
        seen = flight(endpoint, target.deadline())
        why, roots = verdict(endpoint, target.trust, target.deadline())
    except Unanswered as problem:
        yield Finding(
            "tls",
            Level.FAILED,
            where,
            f"No TLS 1.2 connection comes about: {problem}.",
            "Open TCP port 443 to the server in each firewall, and let it speak TLS 1.2: Windows 10 knows no newer one.",
        )
        return None
    yield Finding("tls", Level.OK, where, "TLS 1.2 is spoken there.")
    try:
        reading = read_chain(seen.chain, roots, endpoint.host)
    except ValueError:
        yield Finding(
            "certificate",
            Level.FAILED,
            where,
            "The server's certificate cannot be read.",
            "Give the server a certificate of an authority that the PCs trust (docs/tls.md).",
        )
        return endpoint
    yield _name_finding(reading, endpoint)
    yield _time_finding(reading, where, clock())
    yield _trust_finding(reading, why, where, own=target.trust is not None)
    yield _chain_finding(reading, why, where)
    return endpoint


def _name_finding(reading: Reading, endpoint: Endpoint) -> Finding:
    if reading.names_host:
        return Finding(
            "certificate_name", Level.OK, str(endpoint), f"The certificate is valid for {endpoint.host}."
        )
    names = ", ".join(reading.names[:4]) or "no name at all"
    return Finding(
        "certificate_name",
        Level.FAILED,
        str(endpoint),
        f"The certificate is for {names}, and not for {endpoint.host}.",
        f"Get a certificate that lists {endpoint.host} among its names (subject alternative names).",
    )


def _time_finding(reading: Reading, where: str, now: datetime) -> Finding:
    left = reading.not_after - now
    if reading.not_before > now:
        level, why = (
            Level.FAILED,
            f"The certificate is valid only from {reading.not_before:%Y-%m-%d %H:%M} UTC on.",
        )
    elif left < timedelta(0):
        level, why = Level.FAILED, f"The certificate expired on {reading.not_after:%Y-%m-%d}."
    elif left < timedelta(days=_DAYS):
        level, why = (
            Level.WARNING,
            f"The certificate ends in {left.days} days, on {reading.not_after:%Y-%m-%d}.",
        )
    else:
        return Finding("certificate_time", Level.OK, where, f"The certificate has {left.days} days left.")
    remedy = "Renew the server's certificate, and see that the server has taken it up (SIGHUP, docs/tls.md)."
    return Finding("certificate_time", level, where, why, remedy)


def _trust_finding(reading: Reading, why: str | None, where: str, *, own: bool) -> Finding:
    who = "the authorities of --trust" if own else "this machine"
    if why is None:
        return Finding("certificate_trust", Level.OK, where, f"The certificate is trusted by {who}.")
    if reading.self_signed:
        reason = "It is signed by itself"
    elif not reading.sends_issuer:
        reason = f"{reading.last_issuer} is unknown here, or an intermediate between is missing"
    else:
        reason = f"{reading.last_issuer} is unknown here"
    return Finding(
        "certificate_trust",
        Level.FAILED,
        where,
        f"The certificate is not trusted by {who}: {reason} ({why}).",
        "Take a certificate of a public authority, or bring your own root to each PC before it enrols, into Trusted "
        "Root Certification Authorities of the computer, and name it here with --trust.",
    )


def _chain_finding(reading: Reading, why: str | None, where: str) -> Finding:
    if reading.complete:
        return Finding(
            "certificate_chain",
            Level.OK,
            where,
            "The server sends every certificate that a PC may lack.",
        )
    if why is not None and reading.sends_issuer:
        return Finding(
            "certificate_chain",
            Level.WARNING,
            where,
            "Whether the chain is complete cannot be said, because its root is not known here.",
            "Name the root with --trust.",
        )
    return Finding(
        "certificate_chain",
        Level.FAILED if why is not None else Level.WARNING,
        where,
        f"The server does not send the certificate of {reading.last_issuer}, which no PC needs to have.",
        "Let the certificate's file hold the server's certificate and then its intermediates (fullchain.pem).",
    )
