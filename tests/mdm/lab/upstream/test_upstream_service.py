"""Each operation of the virtual upstream, over a socket: what it answers, and with which fault it refuses."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pylibmspack import CabArchive

from mdm.lab.documents import Document, File, Identity

if TYPE_CHECKING:
    from conftest import Clock, Peer, Reply, StartPeer

ONE = "aaaaaaaa-0000-4000-8000-000000000001"
TWO = "aaaaaaaa-0000-4000-8000-000000000002"
UNKNOWN = "ffffffff-0000-4000-8000-000000000001"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def make_file(name: str, *, url: str | None = None) -> File:
    """A payload file, or without a URL one that the upstream serves."""
    content = name.encode()
    sha1 = hashlib.sha1(content, usedforsecurity=False).digest()
    sha256 = hashlib.sha256(content).digest()
    return File(name, 5, sha1, sha256, NOW, url=url, content=None if url else content)


# --- GetAuthConfig, GetAuthorizationCookie, GetCookie ---------------------------------------------------


def test_auth_config_names_one_plugin_and_a_relative_url(peer: Peer) -> None:
    """DssTargeting, to be found relative to the server's URL."""
    reply = peer.call("GetAuthConfig")
    assert reply.text("PlugInID") == "DssTargeting"
    assert reply.text("ServiceUrl") == "DssAuthWebService/DssAuthWebService.asmx"
    assert reply.text("Parameter") == ""


@pytest.mark.parametrize("name", ["dss.example.org", "dss", r"EXAMPLE\DSS$", "10.0.0.1"])
def test_any_name_and_guid_gets_an_authorization_cookie(peer: Peer, name: str) -> None:
    """The auth service knows nobody and refuses nobody; its cookie has the length of a real one."""
    assert len(base64.b64decode(peer.authorize(name).text("CookieData"))) == 432


@pytest.mark.parametrize(
    ("name", "guid", "parameter"),
    [
        ("", "6f1c2f6e-3f0b-4d3a-9b1e-0d2f6a1c5e12", "machineName"),
        ("not a name", "6f1c2f6e-3f0b-4d3a-9b1e-0d2f6a1c5e12", "machineName"),
        ("dss..example", "6f1c2f6e-3f0b-4d3a-9b1e-0d2f6a1c5e12", "machineName"),
        ("dss", "", "accountGuid"),
        ("dss", "6f1c2f6e", "accountGuid"),
    ],
)
def test_malformed_accounts_are_refused(peer: Peer, name: str, guid: str, parameter: str) -> None:
    """InvalidParameters names the parameter, with Windows' own name for the first one."""
    assert peer.authorize(name, guid).fault == ("InvalidParameters", parameter)


def test_cookie_is_as_long_as_a_real_one_and_expires_after_four_hours(peer: Peer) -> None:
    """Expiration has the fraction .NET would write."""
    reply = peer.get_cookie(peer.authorize().text("CookieData"))
    assert reply.text("Expiration") == "2026-11-21T16:00:00.65455Z"
    assert len(base64.b64decode(reply.text("EncryptedData"))) == 208


def test_cookie_lives_no_longer_than_its_authorization(peer: Peer, clock: Clock) -> None:
    """An authorization that is nearly over gives a short cookie, and one that is over gives none."""
    data = peer.authorize().text("CookieData")
    clock.forward(hours=23)
    assert peer.get_cookie(data).text("Expiration") == "2026-11-22T12:00:00.65455Z"
    clock.forward(hours=1)
    assert peer.get_cookie(data).fault == ("InvalidAuthorizationCookie", "")


@pytest.mark.parametrize("data", ["", "AAAA", "not base64", base64.b64encode(bytes(432)).decode()])
def test_forged_authorizations_are_refused(peer: Peer, data: str) -> None:
    """What we did not sign is InvalidAuthorizationCookie."""
    assert peer.get_cookie(data).fault == ("InvalidAuthorizationCookie", "")


def test_a_cookie_is_no_authorization(peer: Peer) -> None:
    """The two kinds cannot stand in for each other."""
    reply = peer.get_cookie(peer.authorize().text("CookieData"))
    assert peer.get_cookie(reply.text("EncryptedData")).fault == ("InvalidAuthorizationCookie", "")


@pytest.mark.parametrize("count", [0, 2])
def test_exactly_one_authorization_is_taken(peer: Peer, count: int) -> None:
    """No AuthorizationCookie, or two, is InvalidParameters."""
    one = f"<AuthorizationCookie><CookieData>{peer.authorize().text('CookieData')}</CookieData></AuthorizationCookie>"
    arguments = f"<authCookies>{one * count}</authCookies><protocolVersion>1.20</protocolVersion>"
    assert peer.call("GetCookie", arguments).fault == ("InvalidParameters", "authCookies")


def test_an_authorization_copied_in_its_own_namespace_is_not_seen(peer: Peer) -> None:
    """The nodes of the auth service's answer must be made anew in the sync service's namespace."""
    da = "http://www.microsoft.com/SoftwareDistribution/Server/DssAuthWebService"
    data = peer.authorize().text("CookieData")
    arguments = (
        f'<authCookies><AuthorizationCookie xmlns="{da}"><CookieData>{data}</CookieData></AuthorizationCookie>'
        "</authCookies><protocolVersion>1.20</protocolVersion>"
    )
    assert peer.call("GetCookie", arguments).fault == ("InvalidParameters", "authCookies")


@pytest.mark.parametrize(
    ("version", "fault"),
    [
        ("1.21", None),
        ("1.1", None),
        ("2.0", ("IncompatibleProtocolVersion", "")),
        ("0.9", ("IncompatibleProtocolVersion", "")),
        ("", ("InvalidParameters", "protocolVersion")),
        ("1", ("InvalidParameters", "protocolVersion")),
        ("1.20.3", ("InvalidParameters", "protocolVersion")),
        ("one.two", ("InvalidParameters", "protocolVersion")),
    ],
)
def test_protocol_version_is_two_numbers_of_which_the_first_is_one(
    peer: Peer, version: str, fault: tuple[str, str] | None
) -> None:
    """Any 1.x is served; the form is checked before the number."""
    reply = peer.get_cookie(peer.authorize().text("CookieData"), version)
    assert (reply.fault if fault else reply.response.status_code) == (fault or 200)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: "",
        lambda _: "<cookie/>",
        lambda cookie: re.sub(r"(<EncryptedData>)....", r"\1AAAA", cookie),
        lambda cookie: cookie.replace("16:00:00.65455Z", "16:00:00.654550Z"),
        lambda cookie: cookie.replace("16:00:00.65455Z", "17:00:00.65455Z"),
        lambda cookie: re.sub(r"<Expiration>.*</Expiration>", "", cookie),
    ],
    ids=["none", "empty", "forged", "reformatted expiration", "prolonged expiration", "no expiration"],
)
def test_bad_cookies_are_refused(peer: Peer, spoil: object) -> None:
    """Every operation that wants a cookie wants it as it was given."""
    assert callable(spoil)
    assert peer.call("GetConfigData", peer.cookie()).response.status_code == 200
    assert peer.call("GetConfigData", spoil(peer.cookie())).fault == ("InvalidCookie", "")


def test_expired_cookies_are_refused(start_peer: StartPeer, clock: Clock) -> None:
    """A cookie is good until, not at, its expiration."""
    peer = start_peer(cookie_lifetime=timedelta(minutes=1))
    cookie = peer.cookie()
    clock.forward(seconds=59)
    assert peer.call("GetConfigData", cookie).response.status_code == 200
    clock.forward(seconds=1)
    assert peer.call("GetConfigData", cookie).fault == ("InvalidCookie", "")


@pytest.mark.parametrize(
    "operation",
    [
        "GetConfigData",
        "GetRevisionIdList",
        "GetUpdateData",
        "GetUpdateDecryptionData",
        "GetRelatedRevisionsForUpdates",
        "GetDeployments",
        "DownloadFiles",
    ],
)
def test_no_operation_goes_without_a_cookie(peer: Peer, operation: str) -> None:
    """The fault says which method it was, with the quotes of the SOAPAction, and at which address."""
    reply = peer.call(operation)
    assert reply.fault == ("InvalidCookie", "")
    action = f'"http://www.microsoft.com/SoftwareDistribution/{operation}"'
    assert reply.body.findtext("detail/Method") == action
    actor = f"{peer.server.url}/ServerSyncWebService/ServerSyncWebService.asmx"
    assert reply.body.findtext("faultactor") == actor


# --- GetConfigData --------------------------------------------------------------------------------------


def test_config_data_of_a_first_call(peer: Peer) -> None:
    """Content is at Microsoft's, driver calls are not offered, and all languages are on."""
    reply = peer.call("GetConfigData", peer.cookie())
    assert reply.text("CatalogOnlySync") == "true"
    assert reply.text("MaxNumberOfUpdatesPerRequest") == "100"
    assert reply.text("MaxNumberOfDriverSetsPerRequest") == "0"
    assert reply.text("ProtocolVersion") == "1.20"
    languages = dict(zip(reply.texts("ShortLanguage"), reply.texts("Enabled"), strict=True))
    assert languages["all"] == languages["en"] == "true"
    assert languages["ja-nec"] == "false"


def test_config_data_with_an_anchor_has_no_languages(peer: Peer) -> None:
    """Nothing changed since the last anchor; the rest is complete, and the anchor new."""
    first = peer.call("GetConfigData", peer.cookie()).text("NewConfigAnchor")
    reply = peer.call("GetConfigData", f"{peer.cookie()}<configAnchor>{first}</configAnchor>")
    assert reply.texts("ServerSyncLanguageData") == []
    assert reply.text("LanguageUpdateList") == ""
    assert reply.text("NewConfigAnchor") > first


# --- anchors --------------------------------------------------------------------------------------------


def anchored(peer: Peer, operation: str, anchor: str) -> tuple[str | None, str | None]:
    """The fault of a call with that anchor."""
    arguments = {
        "GetConfigData": f"<configAnchor>{anchor}</configAnchor>",
        "GetRevisionIdList": f"<filter><Anchor>{anchor}</Anchor><GetConfig>true</GetConfig></filter>",
        "GetDeployments": f"<syncAnchor>{anchor}</syncAnchor>",
    }
    return peer.call(operation, peer.cookie() + arguments[operation]).fault


@pytest.mark.parametrize(
    ("operation", "parameter"),
    [("GetConfigData", "configAnchor"), ("GetRevisionIdList", "filter"), ("GetDeployments", "syncAnchor")],
)
@pytest.mark.parametrize(
    "anchor", ["x", "2026-10-05 17:27:44.393", "1000,2026-13-05 17:27:44.393", "1000,2026-10-05T17:27:44.393"]
)
def test_unparsable_anchors_are_refused(peer: Peer, operation: str, parameter: str, anchor: str) -> None:
    """InvalidParameters names the parameter; an anchor of Microsoft Update's form is none of ours."""
    assert anchored(peer, operation, anchor) == ("InvalidParameters", parameter)


@pytest.mark.parametrize("operation", ["GetConfigData", "GetRevisionIdList", "GetDeployments"])
def test_anchors_of_another_generation_mean_server_changed(peer: Peer, operation: str) -> None:
    """After the generation was counted up the anchors of before are refused, and new ones taken."""
    anchor = peer.call("GetConfigData", peer.cookie()).text("NewConfigAnchor")
    peer.server.bump_generation()
    assert anchored(peer, operation, anchor) == ("ServerChanged", "")
    fresh = peer.call("GetConfigData", peer.cookie()).text("NewConfigAnchor")
    assert fresh.startswith("1001,")
    assert peer.revisions(f"<Anchor>{fresh}</Anchor><GetConfig>true</GetConfig>").texts("Anchor")


def test_bumping_keeps_failures_that_wait(start_peer: StartPeer) -> None:
    """Counting the generation up does not disarm what else was asked for."""
    peer = start_peer(fail_next=1)
    peer.server.bump_generation()
    assert peer.call("GetAuthConfig").response.status_code == 503


# --- GetRevisionIdList ----------------------------------------------------------------------------------


def test_every_revision_is_listed(peer: Peer) -> None:
    """Several revisions of one update are listed, not only the highest."""
    assert peer.revisions("<GetConfig>false</GetConfig>").identities() == [
        Identity(ONE, 200),
        Identity(ONE, 201),
        Identity(TWO, 200),
    ]


def test_an_empty_list_is_an_empty_element(peer: Peer) -> None:
    """NewRevisions is there even if nothing is new."""
    reply = peer.revisions("<GetConfig>true</GetConfig>")
    assert reply.text("NewRevisions") == ""


def test_an_anchor_leaves_out_what_was_listed(peer: Peer) -> None:
    """With the anchor of the last answer only what was published since is listed."""
    anchor = peer.revisions("<GetConfig>false</GetConfig>").text("Anchor")
    assert peer.revisions(f"<Anchor>{anchor}</Anchor><GetConfig>false</GetConfig>").identities() == []
    peer.server.publish(Document(ONE, 202, "<one-again/>"))
    reply = peer.revisions(f"<Anchor>{anchor}</Anchor><GetConfig>false</GetConfig>")
    assert reply.identities() == [Identity(ONE, 202)]
    last = reply.text("Anchor")
    assert peer.revisions(f"<Anchor>{last}</Anchor><GetConfig>false</GetConfig>").identities() == []


def test_get63languageonly_may_be_missing(peer: Peer) -> None:
    """The schema requires it, a real WSUS does not."""
    assert peer.revisions("<GetConfig>false</GetConfig>").texts("Anchor")
    assert peer.revisions("<GetConfig>false</GetConfig><Get63LanguageOnly>false</Get63LanguageOnly>").texts(
        "Anchor"
    )


def test_languages_of_the_filter_are_numbers(start_peer: StartPeer) -> None:
    """A LanguageID stands for a language, 0 for all; numbers nobody knows select nothing."""
    german = Document(ONE, 200, "<one/>", languages=frozenset({"de"}))
    peer = start_peer(german, Document(TWO, 200, "<two/>"))

    def listed(*numbers: int) -> list[str]:
        items = "".join(
            f"<LanguageAndDelta><Id>{number}</Id><Delta>false</Delta></LanguageAndDelta>"
            for number in numbers
        )
        members = f"<GetConfig>false</GetConfig><Languages>{items}</Languages>"
        return [each.update_id for each in peer.revisions(members).identities()]

    assert listed(1033, 1031) == listed(0) == [ONE, TWO]
    assert listed(1033) == listed(77777) == listed() == [TWO]


@pytest.mark.parametrize(
    "members",
    [
        "<GetConfig>maybe</GetConfig>",
        "<GetConfig>true</GetConfig><GetConfig>true</GetConfig>",
        "<GetConfig>false</GetConfig><Categories><IdAndDelta><Id>x</Id></IdAndDelta></Categories>",
        "<GetConfig>false</GetConfig><Categories><IdAndDelta><Delta>true</Delta></IdAndDelta></Categories>",
    ],
)
def test_a_filter_of_wrong_types_cannot_be_read(peer: Peer, members: str) -> None:
    """What XML deserialisation would refuse gets a fault without an ErrorCode."""
    assert peer.revisions(members).fault == (None, None)


# --- GetUpdateData --------------------------------------------------------------------------------------


def test_update_data_answers_in_the_order_asked(peer: Peer) -> None:
    """Ids and documents come back as asked for, duplicates twice."""
    reply = peer.update_data((TWO, 200), (ONE.upper(), 201), (TWO, 200))
    assert reply.identities() == [Identity(TWO, 200), Identity(ONE, 201), Identity(TWO, 200)]
    assert reply.texts("XmlUpdateBlob") == ["<two/>", "<one-corrected/>", "<two/>"]


def test_update_data_lists_files_and_where_they_are(start_peer: StartPeer) -> None:
    """Digests stand beside the document, URLs once per file; ours are on this server."""
    far, near = make_file("a.cab", url="http://download.example/a.cab"), make_file("eula.txt")
    peer = start_peer(
        Document(ONE, 200, "<one/>", files=(far, near)), Document(TWO, 200, "<two/>", files=(near,))
    )
    reply = peer.update_data((ONE, 200), (TWO, 200))
    assert reply.texts("base64Binary") == [far.digest, near.digest, near.digest]
    assert reply.texts("FileDigest") == [far.digest, near.digest]
    assert reply.texts("MUUrl") == [far.url, peer.server.url + near.content_path]
    assert reply.texts("UssUrl") == ["", ""]
    assert peer.http.get(reply.texts("MUUrl")[1]).content == b"eula.txt"


@pytest.mark.parametrize(("characters", "compressed"), [(2560, False), (2561, True)])
def test_long_documents_are_compressed(start_peer: StartPeer, characters: int, compressed: bool) -> None:  # noqa: FBT001
    """Over 5,120 bytes, counted in UTF-16, a document goes out as a cabinet."""
    text = f"<a>{'é' * (characters - 7)}</a>"
    reply = start_peer(Document(ONE, 200, text)).update_data((ONE, 200))
    assert len(reply.texts("XmlUpdateBlob")) == (not compressed)
    packed = reply.texts("XmlUpdateBlobCompressed")
    assert len(packed) == compressed
    for blob in packed:
        assert CabArchive.from_bytes(base64.b64decode(blob)).read("blob").decode("utf-16-le") == text


@pytest.mark.parametrize(
    ("compress", "element"), [("always", "XmlUpdateBlobCompressed"), ("never", "XmlUpdateBlob")]
)
def test_compression_can_be_forced(start_peer: StartPeer, compress: str, element: str) -> None:
    """Tests can have either form for every document."""
    peer = start_peer(Document(ONE, 1, "<a/>"), Document(TWO, 1, f"<a>{'b' * 9000}</a>"), compress=compress)
    assert len(peer.update_data((ONE, 1), (TWO, 1)).texts(element)) == 2


def test_text_survives_escaping(start_peer: StartPeer) -> None:
    """Markup, quotes, line ends and characters outside the basic plane come back exactly."""
    text = "<a b='\"'>&amp;\r\n\t😀 ü</a>"
    assert start_peer(Document(ONE, 1, text)).update_data((ONE, 1)).text("XmlUpdateBlob") == text


@pytest.mark.parametrize("wanted", [(UNKNOWN, 200), (ONE, 199)])
def test_one_unknown_revision_fails_the_call_without_a_word(peer: Peer, wanted: tuple[str, int]) -> None:
    """A WSUS answers InternalServerError with an empty Message and blames itself."""
    reply = peer.update_data((ONE, 200), wanted)
    assert reply.fault == ("InternalServerError", "")
    assert reply.body.findtext("faultcode") == "soap:Server"


def test_microsoft_update_names_the_missing_revisions(start_peer: StartPeer) -> None:
    """With `missing="mu"` the Message has the words its clients parse."""
    peer = start_peer(Document(ONE, 200, "<one/>"), missing="mu")
    assert peer.update_data((UNKNOWN, 3), (ONE, 200), (TWO, 201)).fault == (
        "InternalServerError",
        f"Requested 3 returned 1 (test content removed: 0). Missing Revisions: {UNKNOWN}.3, {TWO}.201",
    )


@pytest.mark.parametrize(("count", "ok"), [(0, False), (1, True), (100, True), (101, False)])
def test_one_to_a_hundred_revisions_can_be_asked_for(peer: Peer, count: int, ok: bool) -> None:  # noqa: FBT001
    """Other numbers are InvalidParameters, naming the parameter."""
    reply = peer.update_data(*[(ONE, 200)] * count)
    if ok:
        assert len(reply.identities()) == count
    else:
        assert reply.fault == ("InvalidParameters", "updateIds")


def test_a_large_answer_comes_back_short(start_peer: StartPeer) -> None:
    """Past the limit no further update is added, but there is always one."""
    documents = [Document(ONE, number, f"<a>{'b' * 1000}</a>") for number in range(1, 6)]
    peer = start_peer(*documents, max_answer_bytes=2000)
    assert peer.update_data(*((ONE, n) for n in range(1, 6))).identities() == [
        Identity(ONE, 1),
        Identity(ONE, 2),
    ]
    peer.server.publish(Document(TWO, 1, f"<a>{'b' * 5000}</a>"))
    assert peer.update_data((TWO, 1), (ONE, 1)).identities() == [Identity(TWO, 1)]


@pytest.mark.parametrize("identity", ["<UpdateID>x</UpdateID>", f"<UpdateID>{ONE}</UpdateID>"])
def test_an_identity_of_wrong_types_cannot_be_read(peer: Peer, identity: str) -> None:
    """A GUID that is none, or no revision number, is a fault without an ErrorCode."""
    arguments = f"<updateIds><UpdateIdentity>{identity}</UpdateIdentity></updateIds>"
    assert peer.call("GetUpdateData", peer.cookie() + arguments).fault == (None, None)


def test_a_revision_number_must_be_a_number(peer: Peer) -> None:
    """`two hundred` cannot be read."""
    arguments = (
        f"<updateIds><UpdateIdentity><UpdateID>{ONE}</UpdateID><RevisionNumber>two hundred</RevisionNumber>"
        "</UpdateIdentity></updateIds>"
    )
    assert peer.call("GetUpdateData", peer.cookie() + arguments).fault == (None, None)


# --- the other operations -------------------------------------------------------------------------------


def test_decryption_data_is_empty(peer: Peer) -> None:
    """No file here is encrypted; the list of ids is checked all the same."""
    identity = (
        f"<UpdateIdentity><UpdateID>{ONE}</UpdateID><RevisionNumber>200</RevisionNumber></UpdateIdentity>"
    )
    asked = f"{peer.cookie()}<updateIds>{identity}</updateIds>"
    assert peer.call("GetUpdateDecryptionData", asked).text("UpdateFileDecryptionData") == ""
    assert peer.call("GetUpdateDecryptionData", peer.cookie()).fault == ("InvalidParameters", "updateIds")


def test_related_revisions_are_the_newest_of_known_ids(peer: Peer) -> None:
    """One revision per known id, nothing for the unknown; the argument is called updateIDs here."""
    asked = "".join(f"<guid>{key}</guid>" for key in (UNKNOWN, ONE))
    reply = peer.call("GetRelatedRevisionsForUpdates", f"{peer.cookie()}<updateIDs>{asked}</updateIDs>")
    assert reply.identities() == [Identity(ONE, 201)]


@pytest.mark.parametrize(
    "asked", ["", "<updateIDs/>", f"<updateIDs>{f'<guid>{ONE}</guid>' * 101}</updateIDs>"]
)
def test_related_revisions_want_one_to_a_hundred_ids(peer: Peer, asked: str) -> None:
    """Other numbers are InvalidParameters."""
    reply = peer.call("GetRelatedRevisionsForUpdates", peer.cookie() + asked)
    assert reply.fault == ("InvalidParameters", "updateIDs")


@pytest.mark.parametrize("guid", ["<guid>x</guid>", "<guid/>"])
def test_related_revisions_of_no_guid_cannot_be_read(peer: Peer, guid: str) -> None:
    """Not a GUID, or nothing, is a fault without an ErrorCode."""
    reply = peer.call("GetRelatedRevisionsForUpdates", f"{peer.cookie()}<updateIDs>{guid}</updateIDs>")
    assert reply.fault == (None, None)


def test_deployments_are_the_two_built_in_groups(peer: Peer) -> None:
    """A server for autonomous downstream servers deploys nothing."""
    anchor = peer.revisions("<GetConfig>false</GetConfig>").text("Anchor")
    asked = f"{peer.cookie()}<syncAnchor>{anchor}</syncAnchor>"
    reply = peer.call("GetDeployments", asked)
    assert reply.texts("Name") == ["All Computers", "Unassigned Computers"]
    assert reply.texts("ParentGroupId") == [
        "00000000-0000-0000-0000-000000000000",
        "a0a08746-4dbe-4a37-9adf-9e7652c0b421",
    ]
    assert reply.text("Deployments") == reply.text("HiddenUpdates") == reply.text("AcceptedEulas") == ""
    again = peer.call(
        "GetDeployments", f"{peer.cookie()}<deploymentAnchor>{reply.text('Anchor')}</deploymentAnchor>"
    )
    assert again.fault == ("InvalidParameters", "syncAnchor")
    bad = peer.call(
        "GetDeployments",
        f"{peer.cookie()}<deploymentAnchor>x</deploymentAnchor><syncAnchor>{anchor}</syncAnchor>",
    )
    assert bad.fault == ("InvalidParameters", "deploymentAnchor")


def test_download_files_takes_known_digests(start_peer: StartPeer) -> None:
    """The answer has no members; unknown digests are named, joined by a bar."""
    file = make_file("a.cab", url="http://download.example/a.cab")
    peer = start_peer(Document(ONE, 1, "<a/>", files=(file,)))

    def download(*digests: str) -> str:
        items = "".join(f"<base64Binary>{digest}</base64Binary>" for digest in digests)
        return f"{peer.cookie()}<fileDigestList>{items}</fileDigestList>"

    reply = peer.call("DownloadFiles", download(file.digest))
    assert reply.response.status_code == 200
    assert len(reply.body) == 0
    missing = peer.call("DownloadFiles", download("AAAA", file.digest, "BBBB"))
    assert missing.fault == ("FileDigestsMissing", "AAAA|BBBB")
    for count in (0, 101):
        reply = peer.call("DownloadFiles", download(*[file.digest] * count))
        assert reply.fault == ("InvalidParameters", "fileDigestList")


@pytest.mark.parametrize("service", ["ServerSyncWebService", "DssAuthWebService", "ReportingWebService"])
def test_every_service_answers_ping(peer: Peer, service: str) -> None:
    """SuccessFlag is true, without a cookie."""
    reply = peer.call(
        "Ping",
        "<pingLevel>1</pingLevel>",
        f"/{service}/{service}.asmx",
        "http://www.microsoft.com/SoftwareDistribution/Server/IMonitorable",
    )
    assert reply.text("SuccessFlag") == "true"
    assert reply.text("IsHttps") == "false"


# --- encrypted files, files that are not here yet, Microsoft Update's ways ------------------------------


def test_decryption_data_has_the_keys_of_encrypted_files(start_peer: StartPeer) -> None:
    """Per update that has any, digest and key of each; an unknown revision fails the call."""
    plain = make_file("plain.cab", url="http://download.example/plain.cab")
    secret = replace(
        make_file("secret.cab", url="http://download.example/secret.cab"), key=b"0123456789abcdef"
    )
    peer = start_peer(
        Document(ONE, 200, "<one/>", files=(plain, secret)), Document(TWO, 200, "<two/>", files=(plain,))
    )

    def asked(*identities: tuple[str, int]) -> Reply:
        wanted = "".join(
            f"<UpdateIdentity><UpdateID>{key}</UpdateID><RevisionNumber>{number}</RevisionNumber></UpdateIdentity>"
            for key, number in identities
        )
        return peer.call("GetUpdateDecryptionData", f"{peer.cookie()}<updateIds>{wanted}</updateIds>")

    reply = asked((ONE, 200), (TWO, 200))
    assert reply.identities() == [Identity(ONE, 200)]
    assert reply.texts("FileDigest") == [secret.digest]
    assert base64.b64decode(reply.text("DecryptionKey")) == b"0123456789abcdef"
    assert asked((ONE, 199)).fault == ("InternalServerError", "")


def test_files_may_have_to_be_asked_for(start_peer: StartPeer) -> None:
    """With `lazy_content` a licence text is 404 until DownloadFiles has named it."""
    text = make_file("eula.txt")
    peer = start_peer(Document(ONE, 200, "<one/>", files=(text,)), lazy_content=True)
    url = peer.server.url + text.content_path
    assert peer.call("GetConfigData", peer.cookie()).text("CatalogOnlySync") == "false"
    assert peer.http.get(url).status_code == 404
    digests = f"<fileDigestList><base64Binary>{text.digest}</base64Binary></fileDigestList>"
    assert peer.call("DownloadFiles", peer.cookie() + digests).response.status_code == 200
    assert peer.http.get(url).content == b"eula.txt"


def test_microsoft_update_has_its_own_ways(start_peer: StartPeer) -> None:
    """Another order of members, other limits and version, and a filter that must be complete."""
    peer = start_peer(flavour="mu")
    config = peer.call("GetConfigData", peer.cookie())
    members = [child.tag.partition("}")[2] for child in config.body[0]]
    assert members[3:7] == [
        "MaxNumberOfUpdatesPerRequest",
        "MaxNumberOfDriverSetsPerRequest",
        "MaxNumberOfComputerIdsInRequest",
        "MaxNumberOfPnpHardwareIdsInRequest",
    ]
    limits = [config.text(member) for member in members[3:7]]
    assert limits == ["100", "100", "200", "450"]
    assert config.text("ProtocolVersion") == "1.21"
    assert peer.revisions("<GetConfig>true</GetConfig>").fault == ("InvalidParameters", "filter")
    whole = "<GetConfig>true</GetConfig><Get63LanguageOnly>false</Get63LanguageOnly>"
    assert peer.revisions(whole).texts("Anchor")
