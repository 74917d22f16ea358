"""POST /omadm: what is said in HTTP, because it cannot be said in SyncML."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import anyio
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from mdm.checkin.endpoint import MEDIA_TYPE, omadm_route
from syncml import client
from syncml.auth import BASIC, MAC, MAC_HEADER, Credentials, Proof, Verdict, credential_hash, verify
from syncml.messages import Status
from syncml.reader import read_message
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Bench
    from starlette.types import Message

PATH = "/omadm?mode=Maintenance&Platform=WoA"


@pytest.fixture
def http(sqlite_bench: Bench) -> Iterator[TestClient]:
    """A client of an application that has the device endpoint only."""
    with TestClient(Starlette(routes=[omadm_route(sqlite_bench.checkin)])) as test_client:
        yield test_client


def package_1() -> bytes:
    """A first message without credentials."""
    message, _ = client.begin(
        session_id="1", device_id="DEV1", server_uri="https://x.test", device_info={"./DevInfo/Man": "x"}
    )
    return write_message(message)


@pytest.mark.parametrize("content_type", [MEDIA_TYPE, f"{MEDIA_TYPE}; charset=utf-8", MEDIA_TYPE.upper()])
def test_syncml_is_answered_in_syncml(http: TestClient, content_type: str) -> None:
    """Even a refusal is 200 with a Status, in the media type of OMA DM, not chunked."""
    response = http.post(PATH, content=package_1(), headers={"content-type": content_type})
    assert response.status_code == 200
    assert response.headers["content-type"] == MEDIA_TYPE
    assert int(response.headers["content-length"]) == len(response.content)
    assert read_message(response.content).header.session_id == "1"


@pytest.mark.parametrize(
    ("content_type", "body", "status", "detail"),
    [
        ("application/vnd.syncml.dm+wbxml", b"\x02", 415, "Content-Type must be"),
        ("text/xml", b"<x/>", 415, "Content-Type must be"),
        ("", b"<x/>", 415, "Content-Type must be"),
        (MEDIA_TYPE, b"", 400, ""),
        (MEDIA_TYPE, b"<SyncML", 400, ""),
        (MEDIA_TYPE, b'<!DOCTYPE x [<!ENTITY a "b">]><SyncML/>', 400, "DOCTYPE"),
        (MEDIA_TYPE, b"x" * (512 * 1024 + 1), 413, "524288"),
    ],
)
def test_what_is_no_message(
    http: TestClient, sqlite_bench: Bench, content_type: str, body: bytes, status: int, detail: str
) -> None:
    """Each gets its HTTP status and a sentence, and changes nothing."""
    sqlite_bench.enrol()
    before = sqlite_bench.dump()
    response = http.post(PATH, content=body, headers={"content-type": content_type})
    assert response.status_code == status
    assert response.headers["content-type"].startswith("text/plain")
    assert detail in response.text
    assert sqlite_bench.dump() == before


@pytest.mark.parametrize(
    ("base_url", "client_address", "status"),
    [
        ("http://bridge.test", ("192.0.2.7", 5), "401"),
        ("http://bridge.test", ("not an address", 5), "401"),
        ("http://bridge.test", ("127.0.0.1", 5), "407"),
        ("http://bridge.test", ("::1", 5), "407"),
        ("https://bridge.test", ("192.0.2.7", 5), "407"),
    ],
)
def test_basic_is_asked_for_over_tls_or_on_this_machine_only(
    sqlite_bench: Bench, base_url: str, client_address: tuple[str, int], status: str
) -> None:
    """Elsewhere a device with auth-basic is refused before it sends its password again."""
    sqlite_bench.enrol(scheme=BASIC)
    app = Starlette(routes=[omadm_route(sqlite_bench.checkin)])
    with TestClient(app, base_url=base_url, client=client_address) as test_client:
        response = test_client.post(PATH, content=package_1(), headers={"content-type": MEDIA_TYPE})
    assert status_of(response.content) == status


def test_header_without_identity_is_400(http: TestClient) -> None:
    """A SyncHdr no reply could be addressed to is an HTTP matter."""
    body = b'<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr/><SyncBody><Final/></SyncBody></SyncML>'
    response = http.post(PATH, content=body, headers={"content-type": MEDIA_TYPE})
    assert (response.status_code, response.text) == (400, "SyncHdr has no usable SessionID\n")


def test_other_methods_are_405(http: TestClient) -> None:
    """OMA DM is POST only."""
    assert http.get(PATH).status_code == 405


def test_database_away_is_503(http: TestClient, sqlite_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device is told to come back, and when."""
    from mdm.errors import Unavailable  # noqa: PLC0415 - only this test needs it

    @contextmanager
    def away() -> Iterator[NoReturn]:
        raise Unavailable("The database is away.", retry_after=7)
        yield

    monkeypatch.setattr(sqlite_bench.database, "read", away)
    response = http.post(PATH, content=package_1(), headers={"content-type": MEDIA_TYPE})
    assert (response.status_code, response.headers["retry-after"]) == (503, "7")


def test_a_full_house_is_503(http: TestClient, sqlite_bench: Bench) -> None:
    """One session more than an address may have: HTTP says when to come back, for SyncML has no word for it."""
    first, second = sqlite_bench.enrol("DEV1"), sqlite_bench.enrol("DEV2")
    app = Starlette(routes=[omadm_route(replace(sqlite_bench.checkin, max_sessions_per_address=1))])
    with TestClient(app, client=("192.0.2.1", 5)) as site, capture_logs() as lines:
        answers = [
            site.post(PATH, content=write_message(device.begin()[0]), headers={"content-type": MEDIA_TYPE})
            for device in (first, second)
        ]
    assert [answer.status_code for answer in answers] == [200, 503]
    assert answers[1].headers["retry-after"] == "60"
    assert answers[1].text == "No more sessions from 192.0.2.1: 1 are open.\n"
    assert [line["event"] for line in lines] == ["dm_unavailable"]


def test_a_mac_travels_in_the_header(http: TestClient, sqlite_bench: Bench) -> None:
    """`x-syncml-hmac` of the request is what proves the device, that of the response the bridge."""
    device = sqlite_bench.enrol(scheme=MAC, server_auth=MAC)
    body = write_message(device.begin()[0])
    mac = device.mac(body)
    assert mac is not None
    plain = http.post(PATH, content=body, headers={"content-type": MEDIA_TYPE})
    assert MAC_HEADER not in plain.headers
    proved = http.post(PATH, content=body, headers={"content-type": MEDIA_TYPE, "X-SyncML-HMAC": mac})
    assert [status_of(answer.content) for answer in (plain, proved)] == ["407", "200"]
    assert verify(
        Proof(None, "bridge", proved.content, proved.headers[MAC_HEADER]),
        Credentials(MAC, "bridge", credential_hash("bridge", "server secret"), device.server_nonce),
    ) is Verdict.ACCEPTED  # fmt: skip


def status_of(reply: bytes) -> str:
    """The status of the SyncHdr."""
    first = read_message(reply).commands[0]
    assert isinstance(first, Status)
    return first.data


def test_connection_lost_while_sending(sqlite_bench: Bench) -> None:
    """Half a message is no message: nothing is processed, and nothing fails."""
    before = sqlite_bench.dump()
    sent: list[Message] = []

    async def run() -> None:
        parts = iter(
            [
                {"type": "http.request", "body": package_1()[:50], "more_body": True},
                {"type": "http.disconnect"},
            ]
        )

        async def receive() -> Message:
            return next(parts)

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"content-type", MEDIA_TYPE.encode())]
        scope = {"type": "http", "method": "POST", "path": "/omadm", "query_string": b"", "headers": headers}
        await Starlette(routes=[omadm_route(sqlite_bench.checkin)])(scope, receive, send)

    anyio.run(run)
    assert sent[0]["status"] == 400
    assert sqlite_bench.dump() == before
