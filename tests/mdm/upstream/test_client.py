"""The client: authentication, renewal, restarts, and files checked by their digests."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.upstream.client import UpstreamClient
from mdm.upstream.errors import AnswerTooLarge, ContentMismatch, InvalidAnswer, SoapFault
from mdm.upstream.messages import (
    DecryptionKey,
    DriverFilter,
    DriverIdList,
    DriverSet,
    RevisionFilter,
    TargetGroup,
    UpdateIdentity,
)
from mdm.upstream.transport import Patience

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

SD = "http://www.microsoft.com/SoftwareDistribution"
DA = f"{SD}/Server/DssAuthWebService"
ACCOUNT = "6f1c2f6e-3f0b-4d3a-9b1e-0d2f6a1c5e12"
ONE = UpdateIdentity("dd78b8a1-0b20-45c1-add6-4da72e9364cf", 202)
LOGIN = ["GetAuthConfig", "GetAuthorizationCookie", "GetCookie"]


class Upstream:
    """Answers every call well, unless `faults` has something else for the operation."""

    def __init__(self, envelope: Callable[[str], bytes], fault: Callable[..., Any]) -> None:
        """Take the helpers of the conftest."""
        self.envelope = envelope
        self.fault = fault
        self.faults: list[tuple[str, str]] = []
        self.service_url = "DssAuthWebService/DssAuthWebService.asmx"
        self.plugin = "DssTargeting"
        self.expiration = "2026-11-21T16:00:00.65455Z"
        self.cookies = 0

    def __call__(self, call: Any) -> Any:
        """Answer a scripted server's call."""
        operation = call.operation
        if self.faults and self.faults[0][0] == operation:
            return self.fault(self.faults.pop(0)[1])
        if operation == "GetCookie":
            self.cookies += 1
        namespace = DA if operation == "GetAuthorizationCookie" else SD
        result = {
            "GetAuthConfig": f"<AuthInfo><AuthPlugInInfo><PlugInID>{self.plugin}</PlugInID>"
            f"<ServiceUrl>{self.service_url}</ServiceUrl></AuthPlugInInfo></AuthInfo>",
            "GetAuthorizationCookie": "<PlugInId>DssTargeting</PlugInId><CookieData>QUFB</CookieData>",
            "GetCookie": f"<Expiration>{self.expiration}</Expiration>"
            f"<EncryptedData>{base64.b64encode(bytes([self.cookies])).decode()}</EncryptedData>",
            "GetConfigData": "<CatalogOnlySync>true</CatalogOnlySync><LazySync>true</LazySync>"
            "<ServerHostsPsfFiles>true</ServerHostsPsfFiles>"
            "<MaxNumberOfUpdatesPerRequest>100</MaxNumberOfUpdatesPerRequest>"
            "<MaxNumberOfDriverSetsPerRequest>0</MaxNumberOfDriverSetsPerRequest>",
            "GetRevisionIdList": "<Anchor>a</Anchor><NewRevisions/>",
            "GetUpdateData": "<updates><ServerSyncUpdateData><Id>"
            f"<UpdateID>{ONE.update_id}</UpdateID><RevisionNumber>202</RevisionNumber></Id>"
            "<XmlUpdateBlob>x</XmlUpdateBlob></ServerSyncUpdateData></updates>",
            "GetDriverIdList": f"<NewRevisions><UpdateIdentity><UpdateID>{ONE.update_id}</UpdateID>"
            f"<RevisionNumber>1</RevisionNumber></UpdateIdentity></NewRevisions><NewDriverSets><guid>{ACCOUNT}</guid>"
            f"</NewDriverSets><RemovedDriverSets><guid>{ONE.update_id}</guid></RemovedDriverSets>",
            "GetDriverSetData": "<DriverSets>"
            + "".join(
                f"<ServerSyncDriverSetData><DriverSetId>{guid}</DriverSetId><DriverSetXml> &lt;x/&gt; </DriverSetXml>"
                "</ServerSyncDriverSetData>"
                for guid in re.findall("<guid>([^<]*)</guid>", call.body.decode())
            )
            + "</DriverSets>",
            "GetUpdateDecryptionData": "<UpdateFileDecryptionData><ServerSyncUpdateFileDecryption><UpdateId>"
            f"<UpdateID>{ONE.update_id}</UpdateID><RevisionNumber>202</RevisionNumber></UpdateId><FileDecryptionData>"
            "<ServerSyncFileDecryption><FileDigest>AAEC</FileDigest><DecryptionKey>QUFB</DecryptionKey>"
            "</ServerSyncFileDecryption><ServerSyncFileDecryption><FileDigest>AAED</FileDigest>"
            "</ServerSyncFileDecryption></FileDecryptionData></ServerSyncUpdateFileDecryption></UpdateFileDecryptionData>",
            "GetDeployments": "<Anchor>d</Anchor><Groups><ServerSyncTargetGroup>"
            f"<TargetGroupID>{ACCOUNT}</TargetGroupID><ParentGroupId>{ONE.update_id}</ParentGroupId><Name>Ring</Name>"
            "<IsBuiltin>false</IsBuiltin></ServerSyncTargetGroup></Groups><Deployments /><DeadDeployments>"
            f"<guid>{ACCOUNT}</guid></DeadDeployments><HiddenUpdates /><AcceptedEulas />",
            "DownloadFiles": "",
            "GetRelatedRevisionsForUpdates": f"<UpdateIdentity><UpdateID>{ONE.update_id}</UpdateID>"
            "<RevisionNumber>203</RevisionNumber></UpdateIdentity>",
        }[operation]
        return self.envelope(
            f'<{operation}Response xmlns="{namespace}"><{operation}Result>{result}</{operation}Result>'
            f"</{operation}Response>"
        )


class Clock:
    """A clock that goes only when told to."""

    def __init__(self, now: datetime) -> None:
        """Start at a moment."""
        self.now = now

    def __call__(self) -> datetime:
        """Tell the time."""
        return self.now


@pytest.fixture
def upstream(server: Any, envelope: Callable[[str], bytes], fault: Callable[..., Any]) -> Upstream:
    """A well-behaved upstream behind the scripted server."""
    upstream = Upstream(envelope, fault)
    server.otherwise = upstream
    return upstream


@pytest.fixture
def clock(now: datetime) -> Clock:
    """The clock of the client."""
    return Clock(now)


@pytest.fixture
def client(server: Any, upstream: Upstream, http: httpx2.Client, clock: Clock) -> UpstreamClient:
    """A client of that upstream."""
    patience = Patience(sleep=lambda _seconds: None)
    return UpstreamClient(f"{server.url}/", "mdm.example.org", ACCOUNT, http, now=clock, patience=patience)


def operations(server: Any) -> list[str]:
    """What was called, in order."""
    return [call.operation for call in server.calls]


def test_the_sequence_begins_with_three_calls_and_needs_them_once(
    server: Any, client: UpstreamClient
) -> None:
    """GetAuthConfig, GetAuthorizationCookie and GetCookie come before the first call, and not again."""
    assert client.get_config_data().max_updates_per_request == 100
    assert client.get_revision_id_list(RevisionFilter(get_config=True)).anchor == "a"
    assert client.get_update_data([ONE]).updates[0].text == "x"
    assert client.get_related_revisions(ONE.update_id) == (UpdateIdentity(ONE.update_id, 203),)
    (batch,) = client.get_update_data_resilient([ONE], 100)
    assert [record.identity for record in batch.found] == [ONE]
    assert operations(server) == [
        *LOGIN,
        "GetConfigData",
        "GetRevisionIdList",
        "GetUpdateData",
        "GetRelatedRevisionsForUpdates",
        "GetUpdateData",
    ]
    paths = {call.operation: call.path for call in server.calls}
    assert paths.pop("GetAuthorizationCookie") == "/DssAuthWebService/DssAuthWebService.asmx"
    assert set(paths.values()) == {"/ServerSyncWebService/ServerSyncWebService.asmx"}
    assert client.bytes_received > 1000


def test_the_cookie_is_echoed_as_it_came(server: Any, client: UpstreamClient, upstream: Upstream) -> None:
    """Expiration keeps its five digits; the authorization cookie is re-created in the other namespace."""
    client.get_config_data("anchor")
    get_cookie, get_config = server.calls[2].body.decode(), server.calls[3].body.decode()
    assert (
        '<GetCookie xmlns="http://www.microsoft.com/SoftwareDistribution"><authCookies><AuthorizationCookie>'
        "<PlugInId>DssTargeting</PlugInId><CookieData>QUFB</CookieData>" in get_cookie
    )
    assert "oldCookie" not in get_cookie
    assert "<Expiration>2026-11-21T16:00:00.65455Z</Expiration>" in get_config
    assert "<configAnchor>anchor</configAnchor>" in get_config


@pytest.mark.parametrize(
    "service_url",
    ["/DssAuthWebService/DssAuthWebService.asmx", "{url}/DssAuthWebService/DssAuthWebService.asmx"],
)
def test_the_service_url_may_be_absolute_on_the_same_origin(
    server: Any, client: UpstreamClient, upstream: Upstream, service_url: str
) -> None:
    """Relative or not, it is the same place."""
    upstream.service_url = service_url.format(url=server.url)
    client.authenticate()
    assert server.calls[1].path == "/DssAuthWebService/DssAuthWebService.asmx"


@pytest.mark.parametrize(
    "service_url",
    ["http://evil.example/x", "//evil.example/x", "https://127.0.0.1/x", "file:///etc/passwd", "http://[::1"],
)
def test_a_service_url_elsewhere_is_not_followed(
    server: Any, client: UpstreamClient, upstream: Upstream, service_url: str
) -> None:
    """An upstream cannot send us to another host, port or scheme."""
    upstream.service_url = service_url
    with pytest.raises(InvalidAnswer):
        client.authenticate()
    assert operations(server) == ["GetAuthConfig"]


def test_an_unknown_plugin_is_refused(client: UpstreamClient, upstream: Upstream) -> None:
    """The protocol has one way to authenticate."""
    upstream.plugin = "Other"
    with pytest.raises(InvalidAnswer, match="DssTargeting"):
        client.authenticate()


def test_the_cookie_is_renewed_two_minutes_before_it_expires(
    server: Any, client: UpstreamClient, clock: Clock
) -> None:
    """The whole login again, showing the old cookie."""
    client.get_config_data()
    clock.now += timedelta(hours=3, minutes=57, seconds=59)
    client.get_config_data()
    assert operations(server) == [*LOGIN, "GetConfigData", "GetConfigData"]
    clock.now += timedelta(seconds=2)
    client.get_config_data()
    assert operations(server)[5:] == [*LOGIN, "GetConfigData"]
    assert b"<oldCookie><Expiration>2026-11-21T16:00:00.65455Z</Expiration>" in server.calls[7].body


@pytest.mark.parametrize(
    "expiration", ["soon", "2020-01-01T00:00:00Z", "0001-01-01T00:00:00", "9999-12-31T23:59:59.9999999"]
)
def test_an_expiration_that_makes_no_sense_here_is_left_to_the_server(
    server: Any, client: UpstreamClient, upstream: Upstream, expiration: str
) -> None:
    """Our clock may be wrong, theirs decides: no login before every call."""
    upstream.expiration = expiration
    client.get_config_data()
    client.get_config_data()
    assert operations(server) == [*LOGIN, "GetConfigData", "GetConfigData"]


@pytest.mark.parametrize("code", ["InvalidCookie", "CookieExpired", "InvalidAuthorizationCookie"])
def test_a_refused_cookie_is_replaced_once(
    server: Any, client: UpstreamClient, upstream: Upstream, code: str
) -> None:
    """The call is repeated after a new login without the old cookie; a second refusal is the caller's."""
    client.authenticate()
    upstream.faults = [("GetConfigData", code)]
    assert client.get_config_data().lazy_sync
    assert operations(server) == [*LOGIN, "GetConfigData", *LOGIN, "GetConfigData"]
    assert b"oldCookie" not in server.calls[6].body
    upstream.faults = [("GetConfigData", code)]
    with pytest.raises(SoapFault, match=code):
        client.get_config_data()


def test_a_refused_authorization_restarts_the_login(
    server: Any, client: UpstreamClient, upstream: Upstream
) -> None:
    """GetCookie may refuse what the auth service gave."""
    upstream.faults = [("GetCookie", "InvalidAuthorizationCookie")]
    assert client.authenticate().expiration == upstream.expiration
    assert operations(server) == [*LOGIN, *LOGIN]
    assert client.authenticate() == client.authenticate()


@pytest.mark.parametrize("code", ["ServerChanged", "IncompatibleProtocolVersion", "InternalServerError"])
def test_other_faults_are_the_callers(client: UpstreamClient, upstream: Upstream, code: str) -> None:
    """No restart is spent on them."""
    upstream.faults = [("GetConfigData", code)]
    with pytest.raises(SoapFault, match=code):
        client.get_config_data()


def test_a_watcher_sees_every_attempt(server: Any, client: UpstreamClient) -> None:
    """That is where a sync run shows that it is alive, or is stopped."""
    seen: list[int] = []
    client.watch(lambda: seen.append(len(server.calls)))
    client.authenticate()
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("url", ["", "wsus", "ftp://wsus", "file:///x"])
def test_a_client_needs_a_web_url(http: httpx2.Client, clock: Clock, url: str) -> None:
    """Said when the client is made, not at the first call."""
    with pytest.raises(InvalidAnswer):
        UpstreamClient(url, "a", ACCOUNT, http, now=clock)


# --- what few upstreams have -----------------------------------------------------------------------------


def test_drivers_are_listed_and_their_sets_read(client: UpstreamClient) -> None:
    """The anchor may be missing in a full list; a set's document is kept exactly."""
    listed = client.get_driver_id_list(DriverFilter(pnp_ids=(("PCI", False),)))
    assert listed == DriverIdList(None, (UpdateIdentity(ONE.update_id, 1),), (ACCOUNT,), (ONE.update_id,))
    (driver_set,) = client.get_driver_set_data(listed.new_driver_sets)
    assert driver_set == DriverSet(ACCOUNT, " <x/> ")


def test_too_many_driver_sets_are_asked_for_in_halves(
    server: Any, client: UpstreamClient, upstream: Upstream
) -> None:
    """Down to one; what is too many even then is passed on."""
    upstream.faults = [("GetDriverSetData", "TooManyIds")]
    found = client.get_driver_set_data([ACCOUNT, ONE.update_id])
    assert [each.driver_set_id for each in found] == [ACCOUNT, ONE.update_id]
    upstream.faults = [("GetDriverSetData", "TooManyIds")]
    with pytest.raises(SoapFault, match="TooManyIds"):
        client.get_driver_set_data([ACCOUNT])


def test_keys_of_encrypted_files(client: UpstreamClient) -> None:
    """One per file; a file may need none. A key does not show in a repr."""
    keys = client.get_update_decryption_data([ONE])
    assert keys == (DecryptionKey(ONE, "AAEC", "QUFB"), DecryptionKey(ONE, "AAED", None))
    assert "QUFB" not in repr(keys)


def test_deployments_of_the_upstream(client: UpstreamClient) -> None:
    """Groups with their parents, and what is gone."""
    result = client.get_deployments("s")
    assert result.groups == (TargetGroup(ACCOUNT, ONE.update_id, "Ring", builtin=False),)
    assert (result.anchor, result.deployments, result.dead_deployments) == ("d", (), (ACCOUNT,))


def test_files_are_asked_for_one_at_a_time(server: Any, client: UpstreamClient, upstream: Upstream) -> None:
    """As Windows does; a digest the upstream does not know is a fault."""
    client.download_files(["AAEC", "AAED"])
    assert [call.operation for call in server.calls].count("DownloadFiles") == 2
    upstream.faults = [("DownloadFiles", "FileDigestsMissing")]
    with pytest.raises(SoapFault, match="FileDigestsMissing"):
        client.download_files(["AAEC"])


# --- content --------------------------------------------------------------------------------------------

FILE = b"Licence\r\n"
SHA1 = base64.b64encode(hashlib.sha1(FILE, usedforsecurity=False).digest()).decode()
SHA256 = base64.b64encode(hashlib.sha256(FILE).digest()).decode()


def test_a_file_is_checked_by_both_digests(server: Any, client: UpstreamClient) -> None:
    """SHA-1 always, SHA-256 where the metadata has one."""
    server.script = [FILE, FILE]
    assert client.download(f"{server.url}/f", sha1=SHA1, sha256=SHA256, max_bytes=100) == FILE
    assert client.download(f"{server.url}/f", sha1=f" {SHA1} ", sha256=None, max_bytes=100) == FILE
    assert [call.method for call in server.calls] == ["GET", "GET"]


@pytest.mark.parametrize(
    ("sha1", "sha256", "reason"),
    [
        (SHA1, SHA1, "SHA-256"),
        ("", None, "SHA-1"),
        ("ü", None, "SHA-1"),
        (SHA256, SHA256, "SHA-1"),
    ],
)
def test_a_file_that_is_another_is_refused(
    server: Any, client: UpstreamClient, sha1: str, sha256: str | None, reason: str
) -> None:
    """One wrong digest is enough."""
    server.script = [FILE]
    with pytest.raises(ContentMismatch, match=reason):
        client.download(f"{server.url}/f", sha1=sha1, sha256=sha256, max_bytes=100)


def test_a_download_is_bounded_and_only_from_the_web(server: Any, client: UpstreamClient) -> None:
    """Size and scheme are checked."""
    server.script = [FILE]
    with pytest.raises(AnswerTooLarge):
        client.download(f"{server.url}/f", sha1=SHA1, sha256=None, max_bytes=3)
    with pytest.raises(InvalidAnswer, match="not http or https"):
        client.download("file:///etc/passwd", sha1=SHA1, sha256=None, max_bytes=100)


def test_the_content_url_has_the_last_two_hex_digits(server: Any, client: UpstreamClient) -> None:
    """A wrong folder gives 404, a name without its extension 403."""
    assert client.content_url("h/W9BGlYUAaqXTp30cZi/SiV3c0=", "AM_Delta.exe") == (
        f"{server.url}/Content/CD/87F5BD0469585006AA5D3A77D1C662FD2895DDCD.exe"
    )
    assert client.content_url("not base64", "x.txt") is None
