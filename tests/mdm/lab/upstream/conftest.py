"""A virtual upstream on a socket, a clock it obeys, and a peer that speaks to it in plain XML."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx2
import pytest
from lxml import etree

from mdm.lab.catalogue import Catalogue
from mdm.lab.documents import Document, Identity
from mdm.lab.upstream import UpstreamOptions, UpstreamServer

if TYPE_CHECKING:
    from mdm.lab.bulk import BulkCatalogue

SYNC = "/ServerSyncWebService/ServerSyncWebService.asmx"
AUTH = "/DssAuthWebService/DssAuthWebService.asmx"
SD = "http://www.microsoft.com/SoftwareDistribution"
DA = f"{SD}/Server/DssAuthWebService"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"


@dataclass
class Clock:
    """The upstream's time: moves when the test says so."""

    now: datetime = datetime(2026, 11, 21, 12, 0, 0, 654550, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The present."""
        return self.now

    def forward(self, **step: float) -> None:
        """Let time pass, e.g. `forward(minutes=5)`."""
        self.now += timedelta(**step)


@dataclass
class Reply:
    """An HTTP answer, and its body as XML."""

    response: httpx2.Response

    @property
    def body(self) -> etree._Element:
        """The first element in soap:Body."""
        return etree.fromstring(self.response.content)[0][0]

    @property
    def fault(self) -> tuple[str | None, str | None]:
        """ErrorCode and Message; asserts that the answer is a fault."""
        assert self.response.status_code == 500
        assert self.body.tag == f"{{{SOAP}}}Fault"
        return self.body.findtext("detail/ErrorCode"), self.body.findtext("detail/Message")

    def texts(self, name: str) -> list[str]:
        """Texts of all elements of that name; asserts that the answer is not a fault."""
        assert self.response.status_code == 200, self.response.text
        return [element.text or "" for element in self.body.iter(f"{{*}}{name}")]

    def text(self, name: str) -> str:
        """The text of the one element of that name."""
        (found,) = self.texts(name)
        return found

    def identities(self) -> list[Identity]:
        """All UpdateID and RevisionNumber pairs."""
        return [
            Identity(key, int(number))
            for key, number in zip(self.texts("UpdateID"), self.texts("RevisionNumber"), strict=True)
        ]


class Peer:
    """A downstream server that writes its envelopes by hand."""

    def __init__(self, server: UpstreamServer, http: httpx2.Client, clock: Clock) -> None:
        """Speak to this server."""
        self.server = server
        self.http = http
        self.clock = clock

    def send(
        self, body: str | bytes, path: str = SYNC, content_type: str = "text/xml; charset=utf-8"
    ) -> Reply:
        """POST what is given."""
        data = body.encode() if isinstance(body, str) else body
        headers = {"Content-Type": content_type}
        return Reply(self.http.post(self.server.url + path, content=data, headers=headers))

    def call(self, operation: str, arguments: str = "", path: str = SYNC, namespace: str = SD) -> Reply:
        """Call one operation."""
        return self.send(
            f'<s:Envelope xmlns:s="{SOAP}"><s:Body><{operation} xmlns="{namespace}">{arguments}</{operation}>'
            "</s:Body></s:Envelope>",
            path,
        )

    def authorize(
        self, name: str = "dss.example.org", guid: str = "6f1c2f6e-3f0b-4d3a-9b1e-0d2f6a1c5e12"
    ) -> Reply:
        """GetAuthorizationCookie."""
        arguments = f"<accountName>{name}</accountName><accountGuid>{guid}</accountGuid>"
        return self.call("GetAuthorizationCookie", arguments, AUTH, DA)

    def get_cookie(self, data: str, version: str = "1.20") -> Reply:
        """GetCookie."""
        return self.call(
            "GetCookie",
            "<authCookies><AuthorizationCookie><PlugInId>DssTargeting</PlugInId>"
            f"<CookieData>{data}</CookieData></AuthorizationCookie></authCookies>"
            f"<protocolVersion>{version}</protocolVersion>",
        )

    def cookie(self) -> str:
        """A good `cookie` argument."""
        reply = self.get_cookie(self.authorize().text("CookieData"))
        return (
            f"<cookie><Expiration>{reply.text('Expiration')}</Expiration>"
            f"<EncryptedData>{reply.text('EncryptedData')}</EncryptedData></cookie>"
        )

    def revisions(self, members: str) -> Reply:
        """GetRevisionIdList with these members of the filter."""
        return self.call("GetRevisionIdList", f"{self.cookie()}<filter>{members}</filter>")

    def update_data(self, *identities: tuple[str, int]) -> Reply:
        """GetUpdateData."""
        wanted = "".join(
            f"<UpdateIdentity><UpdateID>{key}</UpdateID><RevisionNumber>{number}</RevisionNumber></UpdateIdentity>"
            for key, number in identities
        )
        return self.call("GetUpdateData", f"{self.cookie()}<updateIds>{wanted}</updateIds>")


StartPeer = Callable[..., Peer]


@pytest.fixture
def clock() -> Clock:
    """The upstream's clock."""
    return Clock()


@pytest.fixture(scope="session")
def http() -> Iterator[httpx2.Client]:
    """One HTTP client for all tests: making one costs more than a request."""
    with httpx2.Client() as client:
        yield client


@pytest.fixture
def start_peer(clock: Clock, http: httpx2.Client) -> Iterator[StartPeer]:
    """Starts an upstream with the given documents and options, and a peer beside it."""
    with ExitStack() as stack:

        def start(
            *documents: Document,
            host: str = "127.0.0.1",
            bulk: BulkCatalogue | None = None,
            released: int | None = None,
            **options: object,
        ) -> Peer:
            server = UpstreamServer(
                Catalogue((), documents),
                host=host,
                options=UpstreamOptions(**options),  # type: ignore[arg-type]
                clock=clock,
                bulk=bulk,
                released=released,
            )
            stack.enter_context(server)
            return Peer(server, http, clock)

        yield start


@pytest.fixture
def peer(start_peer: StartPeer) -> Peer:
    """A peer of an upstream with nothing but three documents."""
    return start_peer(
        Document("aaaaaaaa-0000-4000-8000-000000000001", 200, "<one/>"),
        Document("aaaaaaaa-0000-4000-8000-000000000001", 201, "<one-corrected/>"),
        Document("aaaaaaaa-0000-4000-8000-000000000002", 200, "<two/>"),
    )
