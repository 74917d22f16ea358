"""The device's side of MS-MDE2: from a domain and a secret to an account and a certificate, and on to the next one.

Each call is made as Windows makes it and each answer is read as strictly; what Windows would stumble over is an
`AnswerUnfit` that names the place. A step that is done is one line for `say`.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mdm.lab.certificate_request import Digest, WindowsForm, certificate_request
from mdm.lab.elements import Unfit
from mdm.lab.enrolment_errors import AnswerUnfit, CannotRenew, EnrolmentRefused, ServerUnreachable
from mdm.lab.link import connect, shows
from mdm.lab.mde2 import (
    DISCOVER,
    GET_POLICIES,
    MESSAGE_IDS,
    PKCS7,
    PKCS10,
    RST,
    binary_token,
    discover,
    policies_message,
    renewal_request,
    token_message,
    username_token,
)
from mdm.lab.provisioning_document import read_provisioning, read_renewal
from mdm.lab.sign_in_page import sign_in
from mdm.lab.soap_enrolment import (
    MEDIA_TYPE,
    Fault,
    KeyPolicy,
    read_body,
    read_discovery,
    read_document,
    read_policies,
)
from mdm.lab.store import Account, DeviceCertificate, DeviceRecord
from mdm.lab.versions import Build
from syncml.auth import BASIC, MD5

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mdm.lab.elements import Element
    from mdm.lab.provisioning_document import Provisioned
    from mdm.lab.store import Identity, Link

__all__ = ["Applicant", "discovery_url", "enrol_device", "renew", "renewal_due"]

_DISCOVERY: Final = "/EnrollmentServer/Discovery.svc"
_ANSWERS: Final = {
    DISCOVER: f"{DISCOVER}Response",
    GET_POLICIES: f"{GET_POLICIES}Response",
    RST: RST.replace("/RST/", "/RSTRC/"),
}
"""Action of a message and that of its answer."""
_HEADERS: Final = {
    "User-Agent": "ENROLLClient",
    "Cache-Control": "no-cache",
    "Accept-Encoding": "identity",
}
_EDITION: Final = "4"
"""OSEdition: Enterprise."""
_RSA: Final = 65537
_WINDOWS_11: Final = 22000
"""The first build that is called so."""
_VERSIONS: Final = {WindowsForm.WINDOWS_10: "5.0", WindowsForm.WINDOWS_11: "7.0"}
"""RequestVersion of builds that are up to date."""


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who wants to enrol which device, and how it goes about it."""

    identity: Identity
    username: str
    """As typed into Windows: `user@domain`, also where a token goes with any name."""
    secret: str = field(repr=False)
    """The user's password, or an enrolment token."""
    discovery_url: str
    full: bool = True
    """EnrollmentType Full, with the certificate in the user's store; False: Device, and the machine's."""
    auth_policies: tuple[str, ...] = ("OnPremise", "Federated")

    @property
    def store(self) -> str:
        """Where its certificate belongs."""
        return "User" if self.full else "System"

    @property
    def version(self) -> str:
        """RequestVersion of a Windows like this that is up to date."""
        return _VERSIONS[_form(self.identity)]


def discovery_url(domain: str | None = None, server: str | None = None) -> str:
    """The one URL that Windows tries for a domain, or the one at a server that was typed in."""
    if server is not None:
        parts = urlsplit(server if "//" in server else f"https://{server}")
        return f"{parts.scheme}://{parts.netloc}{_DISCOVERY}"
    return f"https://enterpriseenrollment.{domain}{_DISCOVERY}"


def _new_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(_RSA, bits)


def enrol_device(
    applicant: Applicant,
    link: Link,
    *,
    now: datetime,
    say: Callable[[str], object],
    connections: httpx2.Client | None = None,
    make_key: Callable[[int], rsa.RSAPrivateKey] = _new_key,
) -> DeviceRecord:
    """Enrol, and return the device as it is before its first session; raises EnrolmentFailed.

    `connections` are the caller's, in place of new ones. `make_key` gives the key, of so many bits.
    """
    identity, url = applicant.identity, applicant.discovery_url
    with connect(link) if connections is None else nullcontext(connections) as http:
        with _answer_to("the first question", url):
            present = http.get(url, headers=_HEADERS)
            if present.status_code != httpx2.codes.OK:
                raise Unfit(f"it is HTTP {present.status_code}, and Windows goes no further")
        with _answer_to("Discover", url):
            message = discover(
                *applicant.auth_policies,
                version=applicant.version,
                email=applicant.username,
                build=identity.os_build,
                edition=_EDITION,
                to=url,
            )
            body = _ask(http, url, message, DISCOVER)
            found = read_discovery(body, applicant.auth_policies, applicant.version)
        say(f"Discovery: {url} answers; {found.auth_policy}, enrolment version {found.version}.")
        security = username_token(applicant.username, applicant.secret)
        if found.authentication_url is not None and found.auth_policy == "Federated":
            with _answer_to("the sign-in page", found.authentication_url):
                token = sign_in(http, found.authentication_url, applicant.username, applicant.secret)
            security = binary_token(token)
            say(f"Sign-in: {found.authentication_url} let {applicant.username} in.")
        policy = KeyPolicy()
        if found.policy_url is not None:
            with _answer_to("GetPolicies", found.policy_url):
                message = policies_message(security, found.policy_url)
                body = _ask(http, found.policy_url, message, GET_POLICIES)
                policy = read_policies(body)
            say(f"Policy: a key of {policy.bits} bits, a request signed with {policy.digest}.")
        key = make_key(policy.bits)
        with _answer_to("RequestSecurityToken", found.enrolment_url):
            message = token_message(
                security,
                _request(key, identity, policy.digest),
                _claims(applicant),
                kind="Issue",
                value_type=PKCS10,
                to=found.enrolment_url,
            )
            body = _ask(http, found.enrolment_url, message, RST)
            document = read_provisioning(read_document(body), key.public_key(), applicant.store, now)
    record = _record(applicant, document, key, replace(link, enrolment_url=found.enrolment_url))
    _tell(record, document, say)
    return record


def _claims(applicant: Applicant) -> dict[str, str]:
    """What Windows says of itself, in its order."""
    identity = applicant.identity
    return {
        "UXInitiated": "true",
        "OSEdition": _EDITION,
        "OSVersion": identity.os_build,
        "DeviceName": identity.name,
        "EnrollmentType": "Full" if applicant.full else "Device",
        "DeviceType": "CIMClient_Windows",
        "ApplicationVersion": identity.os_build,
        "DeviceID": identity.device_id,
        "TargetedUserLoggedIn": "true" if applicant.full else "false",
        "Locale": identity.language,
        "HWDevID": identity.hardware_id,
        "NotInOobe": "true",
        "RequestVersion": applicant.version,
    }


def _record(applicant: Applicant, document: Provisioned, key: rsa.RSAPrivateKey, link: Link) -> DeviceRecord:
    login = document.login
    return DeviceRecord(
        identity=applicant.identity,
        account=Account(
            server_uri=document.address,
            scheme=BASIC if login.kind == "BASIC" else MD5,
            username=login.name,
            password=login.secret,
            provider_id=document.provider_id,
        ),
        nonce=login.nonce or None,
        certificate=DeviceCertificate(
            key_pem=_key_pem(key),
            certificate_pem=_pem(document.certificate),
            root_pem=_pem(document.root),
            intermediate_pem="" if document.intermediate is None else _pem(document.intermediate),
            search_criteria=document.search_criteria,
            store=applicant.store,
            renew_days=document.renew_days,
            retry_days=document.retry_days,
        ),
        provisioned=dict(document.settings),
        link=link,
    )


def _tell(record: DeviceRecord, document: Provisioned, say: Callable[[str], object]) -> None:
    certificate = document.certificate
    due = certificate.not_valid_after_utc - timedelta(days=document.renew_days)
    say(
        f"Certificate: {certificate.subject.rfc4514_string()}, valid until "
        f"{certificate.not_valid_after_utc:%Y-%m-%d}, to be renewed from {due:%Y-%m-%d} on."
    )
    if record.certificate is not None and not shows(record.certificate):
        say(
            f"WARNING: SSLCLIENTCERTSEARCHCRITERIA ({document.search_criteria or 'missing'}) does not find that "
            "certificate. Windows would never show it, and neither does this device."
        )
    say(f"Account: the device polls {document.address} as a device of {document.provider_id}.")


def renewal_due(record: DeviceRecord, now: datetime) -> bool:
    """Whether it is time to renew: inside RenewPeriod of the end, and RetryInterval after the last attempt."""
    held = record.certificate
    if held is None:
        return False
    end = x509.load_pem_x509_certificate(held.certificate_pem.encode()).not_valid_after_utc
    if not end - timedelta(days=held.renew_days) <= now < end:
        return False
    return not held.tried_at or now - datetime.fromisoformat(held.tried_at) >= timedelta(days=held.retry_days)


def renew(
    record: DeviceRecord,
    http: httpx2.Client,
    *,
    now: datetime,
    make_key: Callable[[int], rsa.RSAPrivateKey] = _new_key,
) -> DeviceRecord:
    """Get another certificate by the one the device has; `http` shows it. Raises EnrolmentFailed.

    The old one is still good until the server has seen the new one: nothing is lost with an answer.
    """
    held = record.certificate
    if held is None or not record.link.enrolment_url:
        raise CannotRenew(
            f"{record.identity.name} has no certificate: it was not enrolled by `device enrol`."
        )
    old = x509.load_pem_x509_certificate(held.certificate_pem.encode())
    if now >= old.not_valid_after_utc:
        raise CannotRenew(
            f"The certificate of {record.identity.name} ended on {old.not_valid_after_utc:%Y-%m-%d}. Windows does "
            "nothing after that: the device has to be enrolled again."
        )
    old_key = load_pem_private_key(held.key_pem.encode(), None)
    if not isinstance(old_key, rsa.RSAPrivateKey):
        raise CannotRenew(f"The key of {record.identity.name} is not RSA.")
    key = make_key(old_key.key_size)
    request = _request(key, record.identity, Digest.SHA256)
    url = record.link.enrolment_url
    user = record.provisioned.get("UPN", "")
    claims = {
        "DeviceType": "CIMClient_Windows",
        "ApplicationVersion": record.identity.os_build,
        "DeviceID": record.identity.device_id,
        "EnrollmentType": "Full" if held.store == "User" else "Device",
        "HWDevID": record.identity.hardware_id,
    }
    with _answer_to("RequestSecurityToken (Renew)", url):
        # The password is empty: who asks is proved by the connection and by the signature.
        message = token_message(
            username_token(user, ""),
            renewal_request(request, old_key, old),
            claims,
            kind="Renew",
            value_type=PKCS7,
            to=url,
        )
        body = _ask(http, url, message, RST)
        trusted = tuple(
            x509.load_pem_x509_certificate(pem.encode())
            for pem in (held.intermediate_pem, held.root_pem)
            if pem
        )
        brought = read_renewal(read_document(body), key.public_key(), held.store, trusted, now)
    return replace(
        record,
        certificate=replace(
            held,
            key_pem=_key_pem(key),
            certificate_pem=_pem(brought.certificate),
            root_pem=held.root_pem if brought.root is None else _pem(brought.root),
            intermediate_pem=held.intermediate_pem
            if brought.intermediate is None
            else _pem(brought.intermediate),
            tried_at=now.isoformat(),
        ),
    )


def _ask(http: httpx2.Client, url: str, message: bytes, action: str) -> Element:
    response = http.post(url, content=message, headers={**_HEADERS, "Content-Type": MEDIA_TYPE})
    return read_body(response, _ANSWERS[action], MESSAGE_IDS[action])


@contextmanager
def _answer_to(step: str, url: str) -> Iterator[None]:
    """Turn whatever goes wrong in a step into a sentence about it."""
    try:
        yield
    except Unfit as problem:
        raise AnswerUnfit(f"The answer to {step} cannot be used: {problem}.") from None
    except Fault as fault:
        raise EnrolmentRefused(step, fault) from None
    except httpx2.TransportError as error:
        raise ServerUnreachable(_unreachable(step, url, error)) from None


def _unreachable(step: str, url: str, error: httpx2.TransportError) -> str:
    host = urlsplit(url).hostname
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return (
            f"{step} was not sent: {host} shows a TLS certificate that this device does not trust ({error}). Give the "
            f"server a certificate for {host} of an authority the device trusts, or let it trust this one (--trust FILE)."
        )
    if isinstance(error, httpx2.ConnectError):
        return (
            f"{step} was not sent: {url} cannot be reached ({error}). Look at the DNS record of {host}, the port and "
            "the firewall, or name the server's address (--address HOST:PORT)."
        )
    return f"{step} got no answer: {url} ({type(error).__name__}: {error})."


def _form(identity: Identity) -> WindowsForm:
    old = Build.parse(identity.os_build).number < _WINDOWS_11
    return WindowsForm.WINDOWS_10 if old else WindowsForm.WINDOWS_11


def _request(key: rsa.RSAPrivateKey, identity: Identity, digest: Digest) -> bytes:
    return certificate_request(key, identity.device_id, str(uuid4()), _form(identity), digest)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def _key_pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
