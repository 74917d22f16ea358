"""Whether a domain is ready for Windows to enrol with it: DNS, TLS and each endpoint, looked at as a device would.

What is looked at, in this order, each a `Finding`:

    EnterpriseEnrollment.<domain>   resolves, is reachable, speaks TLS 1.2, with a certificate a PC believes
    GET and POST Discovery.svc      the answer Windows needs, down to its length and the URLs in it
    the host of those URLs          the same as above, where it is another one
    the page to sign in             where there is one: it is shown, or leads to the OpenID provider
    POST Policy.svc                 without credentials: the documented fault, and no page of a proxy
    POST /omadm                     answers SyncML, and the TLS before it asks for a client certificate
    port 80                         where it leads, because Windows tries it when port 443 fails

It sends no credentials, changes nothing, and ends: each step has a time limit, and every answer a largest size.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import escape

from mdm.enrolment.discovery import DISCOVER
from mdm.enrolment.envelope import (
    ADDRESSING,
    DISCOVERY,
    POLICY,
    SOAP,
    Answer,
    MessageUnreadable,
    only,
    read_answer,
    text,
)
from mdm.enrolment.policy import GET_POLICIES
from mdm.enrolment.service import DISCOVERY_PATH, ENROLMENT_PATH
from mdm.readiness.probe import Endpoint, Unanswered, exchange, flight
from mdm.readiness.server_check import Finding, Level, Target, check_server
from syncml.errors import RemoteProtocolError
from syncml.messages import Alert, Location, Message, SyncHdr
from syncml.reader import read_message
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from mdm.readiness.probe import Response

__all__ = ["check_domain"]

_SOAP_TYPE: Final = "application/soap+xml"
_SYNCML_TYPE: Final = "application/vnd.syncml.dm+xml"
_MESSAGE_ID: Final = "urn:uuid:748132ec-a575-4329-b01b-6171a9cf8478"
"""The constant that every PC sends with Discover."""
_OFFERED: Final = ("OnPremise", "Federated")
_NAME: Final = "csp-bridge-enroll-check"
"""What calls itself so in the bridge's log is this check."""
_CLOCK_WARNING: Final = timedelta(minutes=5)
_CLOCK_FAILURE: Final = timedelta(hours=1)
"""Certificates are issued as valid from an hour ago on."""
_APPRU: Final = "ms-app://windows.immersivecontrolpanel"
"""Where Settings wants to be sent back to."""
_REDIRECTS: Final = frozenset({302, 303})
_HTTP_OK: Final = 200
_HTTP_SERVER_ERROR: Final = 500
_CHUNKED_REMEDY: Final = (
    "Switch off whatever re-writes or compresses answers on the way (gzip, sub_filter and the like), so that their "
    "Content-Length stays."
)
_PROXY_REMEDY: Final = "Look whether the bridge runs and whether the proxy passes /EnrollmentServer/ and /omadm to it (docs/tls.md)."


def check_domain(target: Target, clock: Callable[[], datetime]) -> Iterator[Finding]:
    """Look at everything, one finding after the other; `clock` gives this machine's time."""
    endpoint = Endpoint(target.host)
    found = yield from check_server(target, endpoint, clock)
    if found is not None:
        yield from _present(target, found, clock)
        urls = yield from _discover(target, found)
        if urls is not None:
            yield from _services(target, found, *urls, clock)
    yield from _plain(target, found)


# --- discovery ------------------------------------------------------------------------------------------


def _present(target: Target, endpoint: Endpoint, clock: Callable[[], datetime]) -> Iterator[Finding]:
    """The empty GET that comes before everything else."""
    where = f"GET {DISCOVERY_PATH}"
    try:
        answer = exchange(endpoint, "GET", DISCOVERY_PATH, target.deadline())
    except Unanswered as problem:
        yield Finding("discovery_get", Level.FAILED, where, f"No answer: {problem}.", _PROXY_REMEDY)
        return
    if answer.status == _HTTP_OK:
        yield Finding("discovery_get", Level.OK, where, "It is answered with 200.")
    else:
        yield _wrong_status("discovery_get", where, answer)
    said = answer.headers.get("date")
    if said is not None:
        yield _clock_finding(said, clock())


def _clock_finding(said: str, now: datetime) -> Finding:
    where = "the server's clock"
    try:
        moment = parsedate_to_datetime(said)
    except ValueError:
        return Finding(
            "clock",
            Level.WARNING,
            where,
            "Its Date header is no date.",
            "Look what stands between here and the bridge.",
        )
    off = now - (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    seconds = round(off.total_seconds())
    if abs(off) < _CLOCK_WARNING:
        return Finding(
            "clock", Level.OK, where, f"It differs from this machine's by {_seconds(abs(seconds))}."
        )
    return Finding(
        "clock",
        Level.FAILED if abs(off) >= _CLOCK_FAILURE else Level.WARNING,
        where,
        f"It is {_seconds(abs(seconds))} {'behind' if seconds > 0 else 'ahead of'} this machine's.",
        "Set both by a time server: with a clock that is off, a new certificate is not valid yet, or not any more.",
    )


def _discover(target: Target, endpoint: Endpoint) -> Generator[Finding, None, tuple[str, str | None] | None]:
    """Return the URL below which the services are, and that of the page to sign in if there is one.

    None if there is no use in going on.
    """
    where = f"POST {DISCOVERY_PATH}"
    body = (
        f'<Discover xmlns="{DISCOVERY}"><request><EmailAddress>{_NAME}@{escape(target.domain)}</EmailAddress>'
        "<RequestVersion>4.0</RequestVersion><DeviceType>CIMClient_Windows</DeviceType>"
        "<ApplicationVersion>10.0.19045.2965</ApplicationVersion><OSEdition>4</OSEdition>"
        f"<AuthPolicies>{''.join(f'<AuthPolicy>{each}</AuthPolicy>' for each in _OFFERED)}</AuthPolicies>"
        "</request></Discover>"
    )
    asked = yield from _soap(
        target, endpoint, "discover", DISCOVERY_PATH, _message(DISCOVER, endpoint, DISCOVERY_PATH, body)
    )
    if asked is None:
        return None
    response, answer = asked
    yield _length_finding(response, where)
    fault = _fault(answer)
    if fault is not None:
        yield Finding(
            "discover",
            Level.FAILED,
            where,
            f"It is refused with the fault {fault[0]}: {fault[1]}",
            _PROXY_REMEDY,
        )
        return None
    result = only(only(answer.body, "d:DiscoverResponse"), "d:DiscoverResult")
    if answer.action != f"{DISCOVER}Response" or not isinstance(result, dict):
        yield Finding("discover", Level.FAILED, where, "The answer is no DiscoverResponse.", _PROXY_REMEDY)
        return None
    yield Finding(
        "discover",
        Level.OK,
        where,
        f"It is answered with EnrollmentVersion {text(result, 'd:EnrollmentVersion')}.",
    )
    yield _relates_finding(answer, where)
    yield _policy_finding(result, where)
    return (yield from _urls(result))


def _soap(
    target: Target, endpoint: Endpoint, step: str, path: str, message: bytes
) -> Generator[Finding, None, tuple[Response, Answer] | None]:
    """Send a message and read the SOAP that answers it."""
    where = f"POST {path}"
    try:
        response = exchange(endpoint, "POST", path, target.deadline(), body=message, media_type=_SOAP_TYPE)
    except Unanswered as problem:
        yield Finding(step, Level.FAILED, where, f"No answer: {problem}.", _PROXY_REMEDY)
        return None
    # A fault may come as 500 (WCF does it so); what is no SOAP is somebody else's answer.
    if response.media_type != _SOAP_TYPE or response.status not in {_HTTP_OK, _HTTP_SERVER_ERROR}:
        yield _wrong_status(step, where, response)
        return None
    try:
        return response, read_answer(response.body)
    except MessageUnreadable as problem:
        yield Finding(step, Level.FAILED, where, f"The answer cannot be read: {problem}.", _PROXY_REMEDY)
        return None


def _wrong_status(step: str, where: str, answer: Response) -> Finding:
    """What to say of an answer that the bridge has not given, or not to this."""
    location = answer.headers.get("location")
    if location is not None:
        why = f"It is answered with {answer.status} and sends the device to {location[:200]}."
        remedy = "Answer at this address itself: Windows is not known to follow a redirect of https here."
    elif "html" in answer.media_type:
        why = f"It is answered with {answer.status} and a page of HTML, which is a proxy's or another service's."
        remedy = _PROXY_REMEDY
    else:
        why = f"It is answered with {answer.status} and {answer.media_type or 'no media type'}."
        remedy = _PROXY_REMEDY
    if answer.status in {400, 403, 496}:
        remedy = (
            "Look whether the proxy demands a client certificate: it has to be optional (ssl_verify_client optional), "
            "because a device that enrols has none yet."
        )
    return Finding(step, Level.FAILED, where, why, remedy)


def _length_finding(response: Response, where: str) -> Finding:
    if response.chunked:
        why = "The answer comes in chunks (Transfer-Encoding: chunked), which Windows does not take."
    elif "content-length" not in response.headers:
        why = "The answer has no Content-Length, which Windows needs."
    elif "content-encoding" in response.headers:
        why = (
            f"The answer is compressed ({response.headers['content-encoding'][:40]}), which nobody asked for."
        )
    else:
        return Finding(
            "content_length", Level.OK, where, "The answer has a Content-Length and is not chunked."
        )
    return Finding("content_length", Level.FAILED, where, why, _CHUNKED_REMEDY)


def _relates_finding(answer: Answer, where: str) -> Finding:
    if answer.relates_to == _MESSAGE_ID:
        return Finding("relates_to", Level.OK, where, "RelatesTo names the message that was sent.")
    return Finding(
        "relates_to",
        Level.FAILED,
        where,
        "RelatesTo does not name the message that was sent.",
        "Look whether something between answers out of a cache: nothing below /EnrollmentServer/ may be cached.",
    )


def _policy_finding(result: dict[str, Any], where: str) -> Finding:
    policy = text(result, "d:AuthPolicy")
    if policy not in _OFFERED:
        return Finding(
            "auth_policy",
            Level.FAILED,
            where,
            f"The way to authenticate is {str(policy)[:40]}, which the device has not offered.",
            _PROXY_REMEDY,
        )
    means = "user name and password, or a token" if policy == "OnPremise" else "a page to sign in"
    return Finding("auth_policy", Level.OK, where, f"Devices authenticate by {policy} ({means}).")


def _urls(result: dict[str, Any]) -> Generator[Finding, None, tuple[str, str | None] | None]:
    """The URL below which the services are, and that of the page to sign in."""
    names = ("EnrollmentPolicyServiceUrl", "EnrollmentServiceUrl", "AuthenticationServiceUrl")
    urls = {name: url for name in names if (url := text(result, f"d:{name}")) is not None}
    remedy = "Set BRIDGE_PUBLIC_URL to the https URL under which devices reach the bridge."
    service = urls.get("EnrollmentServiceUrl")
    if service is None or not service.endswith(ENROLMENT_PATH):
        yield Finding(
            "urls", Level.FAILED, "EnrollmentServiceUrl", "It is not that of a CSP Bridge.", _PROXY_REMEDY
        )
        return None
    clear = [name for name, url in urls.items() if _https(url) is None]
    if clear:
        why = f"It is no https URL: {urls[clear[0]][:200]}."
        yield Finding("urls", Level.FAILED, clear[0], why, remedy)
        return None
    strays = [name for name, url in urls.items() if _https(url) != _https(service)]
    if strays:
        why = "It is on another host than EnrollmentServiceUrl, and Windows takes the policies from that host only."
        yield Finding("urls", Level.FAILED, strays[0], why, remedy)
        return None
    yield Finding("urls", Level.OK, ", ".join(urls), f"They are https URLs, the services at {service}.")
    return service.removesuffix(ENROLMENT_PATH), urls.get("AuthenticationServiceUrl")


# --- the services behind the URLs -----------------------------------------------------------------------


def _services(
    target: Target,
    discovery: Endpoint,
    base_url: str,
    sign_in_url: str | None,
    clock: Callable[[], datetime],
) -> Iterator[Finding]:
    """The page to sign in, the policy service and the device endpoint, at the host that the discovery service names."""
    host, port = _https(base_url) or (target.host, 443)
    endpoint: Endpoint | None = discovery
    if (host, port) != (discovery.host, discovery.port):
        endpoint = yield from check_server(target, Endpoint(host, port), clock)
    if endpoint is not None:
        prefix = urlsplit(base_url).path
        if sign_in_url is not None:
            yield _sign_in(target, endpoint, urlsplit(sign_in_url).path)
        yield from _policies(target, endpoint, f"{prefix}/EnrollmentServer/Policy.svc")
        yield from _omadm(target, endpoint, f"{prefix}/omadm")
        yield from _client_certificate(target, endpoint)


def _sign_in(target: Target, endpoint: Endpoint, path: str) -> Finding:
    """The page that Windows shows to the user; with an OpenID provider it leads there."""
    where = f"GET {path}"
    query = f"?appru={quote(_APPRU, safe='')}&login_hint="
    try:
        answer = exchange(endpoint, "GET", path + query, target.deadline())
    except Unanswered as problem:
        return Finding("sign_in", Level.FAILED, where, f"No answer: {problem}.", _PROXY_REMEDY)
    provider = _https(answer.headers.get("location", ""))
    if answer.status in _REDIRECTS and provider is not None:
        return Finding("sign_in", Level.OK, where, f"It leads people to {provider[0]} to sign in.")
    if answer.status == _HTTP_OK and answer.media_type == "text/html":
        return Finding("sign_in", Level.OK, where, "It shows the page to sign in.")
    return Finding(
        "sign_in",
        Level.FAILED,
        where,
        f"It is answered with {answer.status} and no page to sign in.",
        "Look at the bridge's log: it says so when the OpenID provider (BRIDGE_OIDC_ISSUER) cannot be reached.",
    )


def _policies(target: Target, endpoint: Endpoint, path: str) -> Iterator[Finding]:
    where = f"POST {path} without credentials"
    body = f'<GetPolicies xmlns="{POLICY}"><client/><requestFilter/></GetPolicies>'
    asked = yield from _soap(target, endpoint, "policies", path, _message(GET_POLICIES, endpoint, path, body))
    if asked is None:
        return
    response, answer = asked
    fault = _fault(answer)
    if fault is None:
        yield Finding(
            "policies",
            Level.FAILED,
            where,
            "It is answered although nobody said who asks, so that this is not a bridge in order.",
            _PROXY_REMEDY,
        )
        return
    if fault[0].rpartition(":")[2].lower() != "invalidsecurity":
        yield Finding(
            "policies",
            Level.WARNING,
            where,
            f"It is refused with the fault {fault[0]} and not with InvalidSecurity: {fault[1]}",
            "Look at the line enrolment_refused in the bridge's log.",
        )
        return
    yield Finding("policies", Level.OK, where, f"It is refused with the documented fault {fault[0]}.")
    yield _length_finding(response, where)


def _omadm(target: Target, endpoint: Endpoint, path: str) -> Iterator[Finding]:
    where = f"POST {path}"
    url = f"https://{endpoint.authority}{path}"
    header = SyncHdr("1", "1", Location(url), Location(_NAME))
    message = write_message(Message(header, (Alert("1", "1201"),)))
    try:
        answer = exchange(endpoint, "POST", path, target.deadline(), body=message, media_type=_SYNCML_TYPE)
    except Unanswered as problem:
        yield Finding("omadm", Level.FAILED, where, f"No answer: {problem}.", _PROXY_REMEDY)
        return
    if answer.media_type != _SYNCML_TYPE or answer.status != _HTTP_OK:
        yield _wrong_status("omadm", where, answer)
        return
    try:
        read_message(answer.body)
    except RemoteProtocolError as problem:
        yield Finding("omadm", Level.FAILED, where, f"The answer is no SyncML: {problem}.", _PROXY_REMEDY)
        return
    yield Finding("omadm", Level.OK, where, "It answers SyncML, and does not let a stranger in.")


def _client_certificate(target: Target, endpoint: Endpoint) -> Iterator[Finding]:
    where = f"the TLS handshake of {endpoint}"
    try:
        asks = flight(endpoint, target.deadline()).asks_certificate
    except Unanswered as problem:
        yield Finding("client_certificate", Level.FAILED, where, f"It fails: {problem}.", _PROXY_REMEDY)
        return
    if asks:
        yield Finding(
            "client_certificate",
            Level.OK,
            where,
            "The server asks for the client's certificate; whether a proxy passes it on shows when the first device "
            "connects, in the bridge's log.",
        )
        return
    yield Finding(
        "client_certificate",
        Level.FAILED,
        where,
        "The server does not ask for the client's certificate, so that no enrolled device can prove who it is.",
        "Make the authority (csp-bridge ca create), which `csp-bridge serve --tls` takes up by itself; a proxy has to ask "
        "for it and pass it on (nginx: ssl_client_certificate, ssl_verify_client optional; docs/tls.md).",
    )


# --- port 80 --------------------------------------------------------------------------------------------


def _plain(target: Target, found: Endpoint | None) -> Iterator[Finding]:
    """Where plain HTTP leads; it need not be open."""
    if target.http is not None:
        addresses: tuple[tuple[str, int], ...] = (target.http,)
    elif target.address is not None or found is None:
        return  # one port is not enough to say where the other is
    else:
        addresses = tuple((host, 80) for host, _ in found.addresses)
    endpoint = Endpoint(target.host, 80, addresses)
    where = f"http://{target.host}{DISCOVERY_PATH}"
    try:
        answer = exchange(endpoint, "GET", DISCOVERY_PATH, target.deadline(), secure=False)
    except Unanswered:
        yield Finding("http", Level.OK, where, "Port 80 is closed, which is fine: Windows comes by https.")
        return
    location = answer.headers.get("location", "")
    place = _https(location)
    if place is not None:
        level = Level.OK if place[0] == target.host else Level.WARNING
        why = f"It sends the device on to {location[:200]}."
        remedy = (
            None
            if level is Level.OK
            else "Let it lead to the same host by https: Windows asks the user before it goes on."
        )
        yield Finding("http", level, where, why, remedy)
        return
    yield Finding(
        "http",
        Level.WARNING,
        where,
        f"It is answered with {answer.status} in the clear, where a password could be asked for by anybody between.",
        f"Close port 80, or let it redirect to https://{target.host}.",
    )


# --- messages -------------------------------------------------------------------------------------------


def _message(action: str, endpoint: Endpoint, path: str, body: str) -> bytes:
    return (
        f'<s:Envelope xmlns:s="{SOAP}" xmlns:a="{ADDRESSING}"><s:Header><a:Action s:mustUnderstand="1">{action}</a:Action>'
        f"<a:MessageID>{_MESSAGE_ID}</a:MessageID><a:ReplyTo><a:Address>{ADDRESSING}/anonymous</a:Address></a:ReplyTo>"
        f'<a:To s:mustUnderstand="1">https://{endpoint.authority}{path}</a:To></s:Header><s:Body>{body}</s:Body></s:Envelope>'
    ).encode()


def _fault(answer: Answer) -> tuple[str, str] | None:
    """A fault's subcode and text, in whichever of the two spellings; None if the answer is none."""
    body = _lowered(answer.body)
    fault = only(body, "s:fault")
    if fault is None:
        return None
    subcode = text(only(only(fault, "s:code"), "s:subcode"), "s:value")
    return subcode or "without a subcode", text(only(fault, "s:reason"), "s:text") or "no reason is said."


def _lowered(node: Any) -> Any:
    if isinstance(node, dict):
        return {name.lower(): _lowered(child) for name, child in node.items()}
    return node


def _https(url: str) -> tuple[str, int] | None:
    """Host and port of an https URL; None for any other text."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    return (parts.hostname, port or 443) if parts.scheme == "https" and parts.hostname else None


def _seconds(number: int) -> str:
    return "1 second" if number == 1 else f"{number} seconds"
