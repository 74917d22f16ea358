"""Update documents written by hand, and a small upstream that serves them over a real loopback socket."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

import httpx2
import pytest
from sqlalchemy import select
from sqlmodel import SQLModel

from mdm.catalog import runs
from mdm.catalog.sync import run_sync
from mdm.upstream.client import UpstreamClient
from mdm.upstream.transport import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from mdm.catalog.runs import RunView
    from mdm.storage.engine import Database

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody: to read every authority of the system costs more than a request over plain HTTP."""

UPD = "http://schemas.microsoft.com/msus/2002/12/Update"
CAT = "http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/Category"
SD = "http://www.microsoft.com/SoftwareDistribution"
DA = f"{SD}/Server/DssAuthWebService"

Identity = tuple[str, int]


def sha1(data: bytes) -> str:
    """Base64 SHA-1, as metadata writes it."""
    return base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


def sha256(data: bytes) -> str:
    """Base64 SHA-256, as metadata writes it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def write_document(
    update_id: str,
    revision: int = 200,
    *,
    update_type: str = "Software",
    title: str | None = "An update",
    properties: str = "",
    children: str = "",
    categories: tuple[str, ...] = (),
    supersedes: tuple[str, ...] = (),
    bundles: tuple[Identity, ...] = (),
    requires: tuple[str, ...] = (),
    eula: tuple[str, dict[str, bytes]] | None = None,
    category_type: str | None = None,
    expired: bool = False,
    deployable: bool = True,
) -> str:
    """One update document; `eula` is (EulaID, language to text of the file)."""
    texts = f"<u:Title>{escape(title)}</u:Title>" if title is not None else ""
    files = ""
    if eula is not None:
        properties += f' EulaID="{eula[0]}"'
        files = "".join(
            f'<u:EulaFile Digest="{sha1(data)}" DigestAlgorithm="SHA1" FileName="eula-{language}.txt" '
            f'Size="{len(data)}" Language="{language}"><u:AdditionalDigest Algorithm="SHA256">{sha256(data)}'
            "</u:AdditionalDigest></u:EulaFile>"
            for language, data in eula[1].items()
        )
    clauses = "".join(
        f'<u:AtLeastOne IsCategory="true"><u:UpdateIdentity UpdateID="{each}"/></u:AtLeastOne>'
        for each in categories
    ) + "".join(f'<u:UpdateIdentity UpdateID="{each}"/>' for each in requires)
    relationships = (
        "<u:SupersededUpdates>"
        + "".join(f'<u:UpdateIdentity UpdateID="{each}"/>' for each in supersedes)
        + f"</u:SupersededUpdates><u:Prerequisites>{clauses}</u:Prerequisites><u:BundledUpdates>"
        + "".join(
            f'<u:AtLeastOne><u:UpdateIdentity UpdateID="{each}" RevisionNumber="{number}"/></u:AtLeastOne>'
            for each, number in bundles
        )
        + "</u:BundledUpdates>"
    )
    category = (
        f'<u:HandlerSpecificData><c:CategoryInformation xmlns:c="{CAT}" CategoryType={quoteattr(category_type)}/>'
        "</u:HandlerSpecificData>"
        if category_type is not None
        else ""
    )
    return (
        f'<u:Update xmlns:u="{UPD}"><u:UpdateIdentity UpdateID="{update_id}" RevisionNumber="{revision}"/>'
        f'<u:Properties UpdateType="{update_type}" DefaultPropertiesLanguage="en" '
        f'PublicationState="{"Expired" if expired else "Published"}" CreationDate="2026-11-10T18:00:00.123Z" '
        f'ExplicitlyDeployable="{str(deployable).lower()}"{properties}>{children}</u:Properties>'
        "<u:LocalizedPropertiesCollection><u:LocalizedProperties><u:Language>en</u:Language>"
        f"{texts}</u:LocalizedProperties>{files}</u:LocalizedPropertiesCollection>"
        f"<u:Relationships>{relationships}</u:Relationships>{category}</u:Update>"
    )


@pytest.fixture
def document() -> Callable[..., str]:
    """The writer of update documents."""
    return write_document


@dataclass
class FakeUpstream:
    """What the upstream has, how it misbehaves, and what it was asked."""

    updates: dict[Identity, str] = field(default_factory=dict)
    listed: list[Identity] = field(default_factory=list)
    """The category list; every call gives all of it unless the anchor is the current one."""
    selected: list[Identity] = field(default_factory=list)
    """The update list, whatever the filter; the same goes for its anchor."""
    related: dict[str, list[Identity]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    """Path to content."""
    urls: dict[str, str] = field(default_factory=dict)
    """Base64 SHA-1 to path, given as MUUrl."""
    deployments: str = ""
    """The members of GetDeployments' result."""
    anchor: str = "anchor 1"
    config_anchor: str = "config 1"
    max_updates: int = 100
    faults: list[tuple[str, str]] = field(default_factory=list)
    """(operation, ErrorCode), used up in order."""
    broken: set[str] = field(default_factory=set)
    """Operations or paths that answer HTTP 503."""
    before: Callable[[str], None] = lambda _operation: None
    calls: list[tuple[str, str]] = field(default_factory=list)
    """(operation or path, body)."""
    url: str = ""

    def add(self, text: str, *, listed: bool = False, selected: bool = False) -> None:
        """Offer a document, in one of the lists or in none."""
        found = re.search(r'UpdateID="([^"]+)" RevisionNumber="(\d+)"', text)
        assert found is not None
        identity = (found[1].lower(), int(found[2]))
        self.updates[identity] = text
        if listed:
            self.listed.append(identity)
        if selected:
            self.selected.append(identity)

    def offer_file(self, path: str, data: bytes) -> None:
        """Serve a file, and name its URL."""
        self.files[path] = data
        self.urls[sha1(data)] = path

    def asked(self, operation: str) -> list[str]:
        """The bodies of all calls of an operation."""
        return [body for name, body in self.calls if name == operation]

    def asked_ids(self) -> list[Identity]:
        """Every revision GetUpdateData was asked for, in order."""
        return [each for body in self.asked("GetUpdateData") for each in _identities(body)]

    def answer(self, operation: str, body: str) -> tuple[int, str]:
        """Status and body element of an answer."""
        self.before(operation)
        if operation in self.broken:
            return 503, ""
        if self.faults and self.faults[0][0] == operation:
            return 500, _fault(self.faults.pop(0)[1])
        inner = {
            "GetUpdateData": self._update_data,
            "GetRelatedRevisionsForUpdates": self._related,
            "GetRevisionIdList": self._revision_list,
            "GetDeployments": lambda _body: self.deployments,
        }.get(operation, lambda _body: self._constant(operation))(body)
        return (500, _fault("InternalServerError")) if inner is None else (200, inner)

    def _related(self, body: str) -> str | None:
        guid = re.search(r"<guid>(.*)</guid>", body)
        assert guid is not None
        related = self.related.get(guid[1])
        return None if related is None else "".join(map(_identity, related))

    def _revision_list(self, body: str) -> str:
        listed = self.listed if "<GetConfig>true</GetConfig>" in body else self.selected
        fresh = [] if f"<Anchor>{self.anchor}</Anchor>" in body else listed
        return f"<Anchor>{self.anchor}</Anchor><NewRevisions>{''.join(map(_identity, fresh))}</NewRevisions>"

    def _constant(self, operation: str) -> str:
        return {
            "DownloadFiles": "",
            "GetAuthConfig": "<AuthInfo><AuthPlugInInfo><PlugInID>DssTargeting</PlugInID>"
            "<ServiceUrl>DssAuthWebService/DssAuthWebService.asmx</ServiceUrl></AuthPlugInInfo></AuthInfo>",
            "GetAuthorizationCookie": "<PlugInId>DssTargeting</PlugInId><CookieData>QUFB</CookieData>",
            "GetCookie": "<Expiration>2030-01-01T00:00:00Z</Expiration><EncryptedData>QUFB</EncryptedData>",
            "GetConfigData": "<CatalogOnlySync>true</CatalogOnlySync><LazySync>true</LazySync>"
            f"<ServerHostsPsfFiles>true</ServerHostsPsfFiles><MaxNumberOfUpdatesPerRequest>{self.max_updates}"
            "</MaxNumberOfUpdatesPerRequest><MaxNumberOfDriverSetsPerRequest>0</MaxNumberOfDriverSetsPerRequest>"
            f"<NewConfigAnchor>{self.config_anchor}</NewConfigAnchor>",
        }[operation]

    def _update_data(self, body: str) -> str | None:
        asked = _identities(body)
        if not all(each in self.updates for each in asked):
            return None
        updates = "".join(
            f"<ServerSyncUpdateData><Id><UpdateID>{guid}</UpdateID><RevisionNumber>{number}</RevisionNumber></Id>"
            f"<XmlUpdateBlob>{escape(self.updates[guid, number])}</XmlUpdateBlob></ServerSyncUpdateData>"
            for guid, number in asked
        )
        urls = "".join(
            f"<ServerSyncUrlData><FileDigest>{digest}</FileDigest><MUUrl>{self.url}{path}</MUUrl><UssUrl/>"
            "</ServerSyncUrlData>"
            for digest, path in self.urls.items()
        )
        return f"<updates>{updates}</updates><fileUrls>{urls}</fileUrls>"


def _identities(body: str) -> list[Identity]:
    pairs = re.findall(r"<UpdateID>([^<]+)</UpdateID><RevisionNumber>(\d+)</RevisionNumber>", body)
    return [(guid, int(number)) for guid, number in pairs]


def _identity(identity: Identity) -> str:
    return (
        f"<UpdateIdentity><UpdateID>{identity[0]}</UpdateID><RevisionNumber>{identity[1]}</RevisionNumber>"
        "</UpdateIdentity>"
    )


def _fault(code: str) -> str:
    return (
        "<s:Fault><faultcode>s:Server</faultcode><faultstring>Fault occurred</faultstring><detail>"
        f"<ErrorCode>{code}</ErrorCode><Message></Message></detail></s:Fault>"
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    upstream: FakeUpstream

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed hangs up."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        """Answer a SOAP call."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        operation = self.headers["SOAPAction"].strip('"').rpartition("/")[2]
        self.server.upstream.calls.append((operation, body))
        status, inner = self.server.upstream.answer(operation, body)
        if status == 200:
            namespace = DA if operation == "GetAuthorizationCookie" else SD
            inner = (
                f'<{operation}Response xmlns="{namespace}"><{operation}Result>{inner}</{operation}Result>'
                f"</{operation}Response>"
            )
        envelope = (
            '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
            f"{inner}</s:Body></s:Envelope>"
        )
        self._send(status, envelope.encode())

    def do_GET(self) -> None:
        """Serve a file."""
        self.server.upstream.calls.append((self.path, ""))
        if self.path in self.server.upstream.broken:
            self._send(503, b"")
        elif self.path in self.server.upstream.files:
            self._send(200, self.server.upstream.files[self.path])
        else:
            self._send(404, b"")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Keep the test output clean."""


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    """An upstream that is listening."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.upstream = FakeUpstream(url=f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server.upstream
        server.shutdown()
        thread.join()


class Clock:
    """A clock that goes only when told to."""

    def __init__(self, now: datetime) -> None:
        """Start at a moment."""
        self.now = now

    def __call__(self) -> datetime:
        """Tell the time."""
        return self.now


@pytest.fixture
def clock(now: datetime) -> Clock:
    """The clock of the sync."""
    return Clock(now)


@dataclass
class Bench:
    """A database, an upstream, and a way to sync the one from the other."""

    database: Database
    upstream: FakeUpstream
    clock: Clock
    http: httpx2.Client

    def claim(self, trigger: runs.Trigger = "manual") -> RunView:
        """Ask for a run and take it."""
        with self.database.write() as connection:
            runs.request_sync(connection, self.upstream.url, trigger, "test", self.clock())
            run = runs.claim_next(connection, self.clock())
        assert run is not None
        return run

    def client(self) -> UpstreamClient:
        """A client that does not wait between tries."""
        patience = Patience(sleep=lambda _seconds: None, tries=2)
        return UpstreamClient(
            self.upstream.url, "mdm.test", "guid", self.http, now=self.clock, patience=patience
        )

    def sync(self, trigger: runs.Trigger = "manual", **options: Any) -> RunView:
        """Do one run to its end."""
        return run_sync(self.database, self.client(), self.claim(trigger), clock=self.clock, **options)

    def rows(self, table: str, *order: str) -> list[dict[str, Any]]:
        """All rows of a table."""
        found = SQLModel.metadata.tables[table]
        with self.database.read() as connection:
            result = connection.execute(select(found).order_by(*(found.c[name] for name in order)))
            return [dict(row) for row in result.mappings()]


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    """A client that ignores the proxies of the environment."""
    with httpx2.Client(verify=NO_TLS, trust_env=False, timeout=5.0) as client:
        yield client


@pytest.fixture
def bench(database: Database, upstream: FakeUpstream, clock: Clock, http: httpx2.Client) -> Bench:
    """A bench on SQLite and on PostgreSQL."""
    return Bench(database, upstream, clock, http)


@pytest.fixture
def sqlite_bench(
    sqlite_database: Database, upstream: FakeUpstream, clock: Clock, http: httpx2.Client
) -> Bench:
    """A bench on SQLite, for what does not depend on the kind of database."""
    return Bench(sqlite_database, upstream, clock, http)
