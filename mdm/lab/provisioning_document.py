"""The wap-provisioningdoc as Windows reads it: names in their exact case, explicit datatypes, nothing that is unknown.

What Windows would stumble over raises `Unfit`. One thing is not an error, as on a real device: criteria that do not
find the certificate (SSLCLIENTCERTSEARCHCRITERIA) let it enrol, and it never shows its certificate.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from mdm.lab.elements import Unfit, read_elements

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from mdm.lab.elements import Element

__all__ = ["Login", "Provisioned", "Renewed", "finds", "read_provisioning", "read_renewal"]

_W7: Final = frozenset(
    {
        "APPID",
        "PROVIDER-ID",
        "NAME",
        "ADDR",
        "ROLE",
        "CONNRETRYFREQ",
        "INITIALBACKOFFTIME",
        "MAXBACKOFFTIME",
        "BACKCOMPATRETRYDISABLED",
        "DEFAULTENCODING",
        "SSLCLIENTCERTSEARCHCRITERIA",
        "PROTOVER",
        "USEHWDEVID",
    }
)
"""What Windows knows in APPLICATION; INIT is not among it, because it ends management."""
_APPAUTH: Final = frozenset({"AAUTHLEVEL", "AAUTHTYPE", "AAUTHNAME", "AAUTHSECRET", "AAUTHDATA"})
_RENEW: Final = {"ROBOSupport": "boolean", "RenewPeriod": "integer", "RetryInterval": "integer"}
_DATATYPES: Final = frozenset({"integer", "string", "boolean"})
_LONGEST_RENEWAL: Final = 1000
_PRIVATE_KEY: Final = "PrivateKeyContainer"


@dataclass(frozen=True, slots=True)
class Login:
    """APPAUTH of the level APPSRV: how the device proves itself in its messages, if it is asked to."""

    kind: str
    """`BASIC` or `DIGEST`."""
    name: str
    secret: str = field(repr=False)
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a renewal brings."""

    certificate: x509.Certificate
    intermediate: x509.Certificate | None
    root: x509.Certificate | None
    """None: the device has it already."""


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What an enrolment brings."""

    certificate: x509.Certificate
    intermediate: x509.Certificate | None
    root: x509.Certificate
    renew_days: int
    retry_days: int
    provider_id: str
    address: str
    """URL of the OMA DM endpoint."""
    search_criteria: str
    login: Login
    settings: Mapping[str, str]
    """Below `./Vendor/MSFT/DMClient/Provider/<id>/`: path to value."""


def read_provisioning(document: bytes, key: RSAPublicKey, store: str, now: datetime) -> Provisioned:
    """Read the document of an enrolment for the device with this key; `store` is `User` or `System`. Raises Unfit."""
    root = _root(document, ("CertificateStore", "APPLICATION", "DMClient"))
    trusted, middle, certificate, wstep = _certificates(root, key, store, now, renewal=False)
    if trusted is None:
        raise Unfit("it has no root certificate")
    _check_chain(certificate, middle, trusted)
    if wstep is None:
        raise Unfit("it has no My/WSTEP/Renew, and the device would be lost when its certificate ends")
    renew_days, retry_days = _renewal(wstep)
    application = _only(root, "APPLICATION")
    parms = _parms(application, _W7)
    if parms.get("APPID") != "w7":
        raise Unfit("the APPID of APPLICATION is not w7")
    address, provider_id = _said(parms, "ADDR"), _said(parms, "PROVIDER-ID")
    if urlsplit(address).scheme != "https":
        raise Unfit(f"ADDR is {address}, and Windows polls https only")
    return Provisioned(
        certificate=certificate,
        intermediate=middle,
        root=trusted,
        renew_days=renew_days,
        retry_days=retry_days,
        provider_id=provider_id,
        address=address,
        search_criteria=parms.get("SSLCLIENTCERTSEARCHCRITERIA", ""),
        login=_login(application),
        settings=_settings(root, provider_id),
    )


def read_renewal(
    document: bytes, key: RSAPublicKey, store: str, trusted: tuple[x509.Certificate, ...], now: datetime
) -> Renewed:
    """Read the document of a renewal; `trusted` is what the device has of authorities. Raises Unfit."""
    root = _root(document, ("CertificateStore", "APPLICATION"))
    new_root, middle, certificate, _ = _certificates(root, key, store, now, renewal=True)
    _check_chain(certificate, middle, new_root, *trusted)
    return Renewed(certificate, middle, new_root)


def finds(criteria: str, certificate: x509.Certificate, store: str) -> bool:
    """Whether SSLCLIENTCERTSEARCHCRITERIA finds this certificate in this store; without that it is not shown."""
    wanted = dict(pair.partition("=")[::2] for pair in criteria.split("&"))
    stores = unquote(wanted.get("Stores", "")).split("\uf000")
    subjects = unquote(wanted.get("Subject", "")).split("\uf000")
    return f"My\\{store}" in stores and certificate.subject.rfc4514_string() in subjects


def _root(document: bytes, branches: tuple[str, ...]) -> Element:
    root = read_elements(document)
    if root.name != "wap-provisioningdoc" or root.attributes.get("version") != "1.1":
        raise Unfit("its root is not a wap-provisioningdoc of version 1.1")
    for element in list(root.walk())[1:]:
        if element.name not in {"characteristic", "parm"}:
            raise Unfit(f"{element.name} is neither characteristic nor parm")
        key = "type" if element.name == "characteristic" else "name"
        if not element.attributes.get(key):
            raise Unfit(f"a {element.name} has no {key}")
    for branch in root.children:
        if _type(branch) not in branches:
            raise Unfit(f"{_type(branch)} is none of {', '.join(branches)}")
    return root


def _certificates(
    root: Element,
    key: RSAPublicKey,
    store: str,
    now: datetime,
    *,
    renewal: bool,
) -> tuple[x509.Certificate | None, x509.Certificate | None, x509.Certificate, Element | None]:
    """Root, intermediate, the device's own certificate, and WSTEP."""
    found: dict[str, list[tuple[Element, x509.Certificate]]] = {}
    own: Element | None = None
    wstep: Element | None = None
    for branch in _all(root, "CertificateStore"):
        for kind in branch.children:
            for place in kind.children:
                path = f"{_type(kind)}/{_type(place)}"
                if path == "My/WSTEP":
                    wstep = place
                elif path in {"Root/System", "CA/System", f"My/{store}"}:
                    stored = [each for each in place.children if _type(each) != _PRIVATE_KEY]
                    found.setdefault(path, []).extend((each, _certificate(each)) for each in stored)
                    own = place if path == f"My/{store}" else own
                else:
                    raise Unfit(f"CertificateStore/{path} is not where Windows looks")
    for path, several in found.items():
        if len(several) > 1:
            raise Unfit(f"CertificateStore/{path} has more than one certificate")
    mine = found.get(f"My/{store}")
    if own is None or not mine:
        raise Unfit(f"CertificateStore/My/{store} has no certificate")
    node, certificate = mine[0]
    # A renewal has it inside, an enrolment beside.
    if not _all(node if renewal else own, _PRIVATE_KEY):
        where = "inside" if renewal else "beside"
        raise Unfit(f"{_PRIVATE_KEY} is missing {where} the thumbprint in My/{store}")
    first = {path: several[0][1] for path, several in found.items()}
    authority, middle = first.get("Root/System"), first.get("CA/System")
    _check_own(certificate, key, now)
    return authority, middle, certificate, wstep


def _certificate(node: Element) -> x509.Certificate:
    encoded = _said(_parms(node, frozenset({"EncodedCertificate"})), "EncodedCertificate")
    try:
        der = base64.b64decode(encoded, validate=True)
        certificate = x509.load_der_x509_certificate(der)
    except (binascii.Error, ValueError):
        raise Unfit(f"the certificate {_type(node)} cannot be read") from None
    # The store's name for it, and no protection of anything.
    if hashlib.sha1(der, usedforsecurity=False).hexdigest().upper() != _type(node).upper():
        raise Unfit(f"the certificate {_type(node)} has another thumbprint")
    return certificate


def _check_own(certificate: x509.Certificate, key: RSAPublicKey, now: datetime) -> None:
    if certificate.public_key() != key:
        raise Unfit("the certificate is not for the key of the request")
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        raise Unfit("the certificate is not valid now")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        raise Unfit("the certificate does not say that it is good for clients") from None
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise Unfit("the certificate is not good for clients")


def _check_chain(certificate: x509.Certificate, *authorities: x509.Certificate | None) -> None:
    """Raise Unfit unless it is issued by one of the authorities, and that by another, up to a root."""
    there = [each for each in authorities if each is not None]
    for _ in there:
        above = next((each for each in there if _issued(certificate, each)), None)
        if above is None:
            break
        if above.issuer == above.subject:
            return
        certificate = above
    raise Unfit(f"{certificate.subject.rfc4514_string()} is not issued by any authority it brings")


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _renewal(wstep: Element) -> tuple[int, int]:
    renew = _only(wstep, "Renew")
    parms = _parms(renew, frozenset(_RENEW))
    said = {parm.attributes["name"]: parm.attributes.get("datatype") for parm in renew.all("parm")}
    for name, datatype in _RENEW.items():
        if said.get(name) != datatype:
            raise Unfit(f"My/WSTEP/Renew/{name} is missing, or its datatype is not {datatype}")
    period, interval = _number(parms, "RenewPeriod"), _number(parms, "RetryInterval")
    if not 1 <= interval <= period <= _LONGEST_RENEWAL:
        raise Unfit(f"a RenewPeriod of {period} days with a RetryInterval of {interval} cannot be")
    return period, interval


def _number(parms: Mapping[str, str], name: str) -> int:
    text = _said(parms, name)
    if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004 - more is a mistake
        raise Unfit(f"{name} is {text}, and no number")
    return int(text)


def _login(application: Element) -> Login:
    """The device's credentials; both levels have to be there, although a certificate makes them needless."""
    levels = {
        _said(parms, "AAUTHLEVEL"): parms
        for parms in (_parms(each, _APPAUTH) for each in _all(application, "APPAUTH"))
    }
    if set(levels) != {"CLIENT", "APPSRV"}:
        raise Unfit("APPLICATION has not both an APPAUTH of the level CLIENT and one of APPSRV")
    if levels["CLIENT"].get("AAUTHTYPE") != "DIGEST":
        raise Unfit("the AAUTHTYPE of the level CLIENT is not DIGEST")
    ours = levels["APPSRV"]
    kind = _said(ours, "AAUTHTYPE")
    if kind not in {"BASIC", "DIGEST"}:
        raise Unfit(f"the AAUTHTYPE of the level APPSRV is {kind}")
    try:
        nonce = base64.b64decode(ours.get("AAUTHDATA", ""), validate=True)
    except (binascii.Error, ValueError):
        raise Unfit("AAUTHDATA is not base64") from None
    return Login(kind, _said(ours, "AAUTHNAME"), _said(ours, "AAUTHSECRET"), nonce)


def _settings(root: Element, provider_id: str) -> dict[str, str]:
    """What stands below the provider's node, which has to have the name that APPLICATION gives."""
    provider = _only(_only(_only(root, "DMClient"), "Provider"), provider_id)
    found: dict[str, str] = {}

    def collect(node: Element, path: str) -> None:
        for child in node.children:
            if child.name == "characteristic":
                collect(child, f"{path}{_type(child)}/")
                continue
            name, datatype = child.attributes["name"], child.attributes.get("datatype")
            value = child.attributes.get("value")
            if datatype not in _DATATYPES or value is None:
                raise Unfit(f"{path}{name} below DMClient has no value or no explicit datatype")
            if datatype == "integer":
                _number({name: value}, name)
            if datatype == "boolean" and value not in {"true", "false"}:
                raise Unfit(f"{path}{name} is {value}, and neither true nor false")
            found[f"{path}{name}"] = value

    collect(provider, "")
    if not found.get("EntDMID"):
        raise Unfit("EntDMID is missing, without which the certificate is never renewed")
    return found


def _type(element: Element) -> str:
    return element.attributes.get("type", "")


def _all(node: Element, kind: str) -> list[Element]:
    return [child for child in node.children if child.name == "characteristic" and _type(child) == kind]


def _only(node: Element, kind: str) -> Element:
    found = _all(node, kind)
    if len(found) != 1:
        raise Unfit(f"{kind} stands {len(found)} times in {_type(node) or 'the document'}, and not once")
    return found[0]


def _parms(node: Element, known: frozenset[str]) -> dict[str, str]:
    """The values of a node; a parm without a value is an empty one."""
    found: dict[str, str] = {}
    for parm in node.all("parm"):
        name = parm.attributes["name"]
        if name not in known or name in found:
            raise Unfit(f"{name} stands in {_type(node)}, where Windows does not know it or has it already")
        found[name] = parm.attributes.get("value", "")
    return found


def _said(parms: Mapping[str, str], name: str) -> str:
    value = parms.get(name)
    if not value:
        raise Unfit(f"{name} is missing or empty")
    return value
