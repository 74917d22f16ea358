"""/certificate-authorities and /certificates: who issues the devices' certificates, which ones, and taking them back.

An authority is made, imported and replaced on the command line only (`csp-bridge ca`). Each of these decides whom the
bridge believes from then on, handles a private key, and is done once in years by somebody at the machine: a token that
could do it would be worth more to a thief than all others together.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mdm.access.scopes import Scope
from mdm.ca.authority import Authority
from mdm.ca.issued import get_issued, list_issued, revoke
from mdm.ca.views import get_authority, list_authorities
from mdm.rest.fields import Body, NoBody, NoQuery, ObjectId, PageQuery
from mdm.rest.operations import Call, Operation, Reply
from mdm.rest.pki import certificate_path, list_path

if TYPE_CHECKING:
    from mdm.ca.issued import CertificateRecord
    from mdm.ca.views import AuthorityView

__all__ = ["OPERATIONS"]


class CertificateQuery(PageQuery):
    """Which certificates to list."""

    device: ObjectId | None = None
    """The id of a device; one that has none, or is unknown, makes an empty list."""
    state: Literal["active", "revoked", "expired"] | None = None


class Revocation(Body):
    """Why a certificate is taken back."""

    reason: Literal[
        "unspecified", "keyCompromise", "superseded", "cessationOfOperation", "privilegeWithdrawn"
    ] = "unspecified"
    """As RFC 5280 section 5.3.1 spells it."""


def _list_authorities(call: Call[NoQuery, NoBody]) -> Reply:
    items = [_authority_members(call, each) for each in list_authorities(call.conn)]
    return Reply({"items": items, "next_cursor": None, "total": len(items)})


def _get_authority(call: Call[NoQuery, NoBody]) -> Reply:
    found = get_authority(call.conn, call.path_params["authority"])
    return Reply(_authority_members(call, found))


def _authority_members(call: Call[Any, Any], found: AuthorityView) -> dict[str, Any]:
    base = call.services.settings.public_url or ""
    return asdict(found) | {
        "certificate_url": base + certificate_path(found.id),
        "crl_url": base + list_path(found.id),
    }


def _get_crl(call: Call[NoQuery, NoBody]) -> Reply:
    authority = Authority.find(call.conn, call.services.secrets, call.path_params["authority"])
    crl = x509.load_der_x509_crl(authority.crl(call.conn, call.now))
    return Reply(
        {
            "authority": authority.id,
            "this_update": crl.last_update_utc,
            "next_update": crl.next_update_utc,
            "revoked": len(crl),
            "pem": crl.public_bytes(Encoding.PEM).decode("ascii"),
        }
    )


def _list_certificates(call: Call[CertificateQuery, NoBody]) -> Reply:
    query = call.query
    position = call.position(query, datetime, str)
    rows = list_issued(
        call.conn,
        limit=position.fetch,
        device=query.device,
        state=query.state,
        now=call.now,
        after=position.after,
    )
    return Reply.of_page(
        position.page(
            rows,
            key=lambda row: (row.issued_at, row.serial),
            show=lambda row: _certificate_members(call, row),
        )
    )


def _get_certificate(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(_certificate_members(call, get_issued(call.conn, call.path_params["serial"])))


def _revoke(call: Call[NoQuery, Revocation]) -> Reply:
    found = revoke(call.conn, call.origin, call.path_params["serial"], call.body.reason, call.now)
    return Reply(_certificate_members(call, found))


def _certificate_members(call: Call[Any, Any], found: CertificateRecord) -> dict[str, Any]:
    return asdict(found) | {"state": found.state(call.now)}


OPERATIONS = (
    Operation(
        method="GET",
        path="/certificate-authorities",
        scope=Scope.DEVICES_READ,
        handler=_list_authorities,
        query=NoQuery,
        body=NoBody,
        summary="List the certificate authorities: the one that issues, then those it has replaced",
    ),
    Operation(
        method="GET",
        path="/certificate-authorities/{authority}",
        scope=Scope.DEVICES_READ,
        handler=_get_authority,
        query=NoQuery,
        body=NoBody,
        summary="Read a certificate authority, without its key",
    ),
    Operation(
        method="GET",
        path="/certificate-authorities/{authority}/crl",
        scope=Scope.DEVICES_READ,
        handler=_get_crl,
        query=NoQuery,
        body=NoBody,
        summary="Make an authority's revocation list, in PEM, for a proxy that checks certificates itself",
    ),
    Operation(
        method="GET",
        path="/certificates",
        scope=Scope.DEVICES_READ,
        handler=_list_certificates,
        query=CertificateQuery,
        body=NoBody,
        summary="List the certificates that were issued, newest first",
    ),
    Operation(
        method="GET",
        path="/certificates/{serial}",
        scope=Scope.DEVICES_READ,
        handler=_get_certificate,
        query=NoQuery,
        body=NoBody,
        summary="Read what is known of an issued certificate",
    ),
    Operation(
        method="POST",
        path="/certificates/{serial}/revoke",
        scope=Scope.DEVICES_WRITE,
        handler=_revoke,
        query=NoQuery,
        body=Revocation,
        summary="Refuse a certificate from now on; its device has to enrol again to come back",
    ),
)
