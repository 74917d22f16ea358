"""Answers are read by name, whatever their order, and refused where what we need is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mdm.upstream import answers
from mdm.upstream.errors import InvalidAnswer, SoapFault
from mdm.upstream.messages import (
    AuthConfig,
    AuthPlugIn,
    ConfigData,
    Cookie,
    Language,
    RevisionIdList,
    UpdateIdentity,
    UpdateRecord,
    UrlData,
    wire_guid,
)

SD = "http://www.microsoft.com/SoftwareDistribution"
DA = f"{SD}/Server/DssAuthWebService"
GUID = "dd78b8a1-0b20-45c1-add6-4da72e9364cf"
Envelope = Callable[[str], bytes]

CONFIG_MEMBERS = [
    "<CatalogOnlySync>true</CatalogOnlySync>",
    "<LazySync>1</LazySync>",
    "<ServerHostsPsfFiles>false</ServerHostsPsfFiles>",
    "<MaxNumberOfUpdatesPerRequest>100</MaxNumberOfUpdatesPerRequest>",
    "<MaxNumberOfDriverSetsPerRequest>0</MaxNumberOfDriverSetsPerRequest>",
    "<NewConfigAnchor>9438,2026-10-04 16:09:27.167</NewConfigAnchor>",
    "<ProtocolVersion>1.20</ProtocolVersion>",
    (
        "<LanguageUpdateList><ServerSyncLanguageData><LanguageID>66577</LanguageID>"
        "<ShortLanguage>ja-nec</ShortLanguage><LongLanguage>NEC</LongLanguage><Enabled>0</Enabled>"
        "</ServerSyncLanguageData></LanguageUpdateList>"
    ),
]
CONFIG = ConfigData(
    catalog_only_sync=True,
    lazy_sync=True,
    server_hosts_psf_files=False,
    max_updates_per_request=100,
    max_driver_sets_per_request=0,
    new_config_anchor="9438,2026-10-04 16:09:27.167",
    protocol_version="1.20",
    languages=(Language(66577, "ja-nec", "NEC", enabled=False),),
)


def wrap(operation: str, result: str, namespace: str = SD) -> str:
    """An operation's answer around the members of its result."""
    return (
        f'<{operation}Response xmlns="{namespace}"><{operation}Result>{result}</{operation}Result>'
        f"</{operation}Response>"
    )


@pytest.mark.parametrize("turn", range(len(CONFIG_MEMBERS)))
def test_config_data_is_read_in_any_order(envelope: Envelope, turn: int) -> None:
    """A WSUS and Microsoft Update order the members differently."""
    members = "".join(CONFIG_MEMBERS[turn:] + CONFIG_MEMBERS[:turn])
    assert answers.read_config_data(envelope(wrap("GetConfigData", members))) == CONFIG


def test_config_data_may_lack_what_old_servers_lack(envelope: Envelope) -> None:
    """A WSUS 2.0 has no ProtocolVersion; with an anchor the language list is empty."""
    members = "".join(CONFIG_MEMBERS[:5]) + "<LanguageUpdateList />"
    config = answers.read_config_data(envelope(wrap("GetConfigData", members)))
    assert (config.protocol_version, config.new_config_anchor, config.languages) == (None, None, ())


def test_auth_config_keeps_the_relative_service_url(envelope: Envelope) -> None:
    """An empty Parameter, which real servers send, is no obstacle."""
    members = (
        "<LastChange>2026-10-04T13:16:35.433Z</LastChange><AuthInfo><AuthPlugInInfo><PlugInID>DssTargeting"
        "</PlugInID><ServiceUrl>DssAuthWebService/DssAuthWebService.asmx</ServiceUrl><Parameter />"
        "</AuthPlugInInfo></AuthInfo>"
    )
    plugin = AuthPlugIn("DssTargeting", "DssAuthWebService/DssAuthWebService.asmx")
    assert answers.read_auth_config(envelope(wrap("GetAuthConfig", members))) == AuthConfig((plugin,))


def test_the_authorization_cookie_is_read_in_its_own_namespace(envelope: Envelope) -> None:
    """It is in the auth service's namespace; in the other one it is a different message."""
    members = "<PlugInId>DssTargeting</PlugInId><CookieData>AAEC</CookieData>"
    read = answers.read_authorization_cookie(envelope(wrap("GetAuthorizationCookie", members, DA)))
    assert (read.plugin_id, read.cookie_data) == ("DssTargeting", "AAEC")
    with pytest.raises(InvalidAnswer):
        answers.read_authorization_cookie(envelope(wrap("GetAuthorizationCookie", members)))


@pytest.mark.parametrize("expiration", ["2026-10-04T20:33:26.65455Z", "9999-12-31T23:59:59.9999999"])
def test_a_cookies_expiration_is_kept_as_text(envelope: Envelope, expiration: str) -> None:
    """It is echoed, so it is not touched."""
    members = f"<Expiration>{expiration}</Expiration><EncryptedData>AAEC</EncryptedData>"
    assert answers.read_cookie(envelope(wrap("GetCookie", members))) == Cookie(expiration, "AAEC")


def test_a_revision_list_keeps_several_revisions_and_lowers_guids(envelope: Envelope) -> None:
    """Which revision is the latest is decided later."""
    members = "<Anchor>9438,2026</Anchor><NewRevisions>" + "".join(
        f"<UpdateIdentity><UpdateID>{guid}</UpdateID><RevisionNumber>{number}</RevisionNumber></UpdateIdentity>"
        for guid, number in ((GUID.upper(), 1), (GUID, 101))
    )
    read = answers.read_revision_id_list(envelope(wrap("GetRevisionIdList", members + "</NewRevisions>")))
    assert read == RevisionIdList("9438,2026", (UpdateIdentity(GUID, 1), UpdateIdentity(GUID, 101)))


def test_an_empty_revision_list_is_a_list(envelope: Envelope) -> None:
    """NewRevisions is there even when nothing is new; the anchor may be missing."""
    read = answers.read_revision_id_list(envelope(wrap("GetRevisionIdList", "<NewRevisions />")))
    assert read == RevisionIdList(None, ())


def test_related_revisions_may_be_none(envelope: Envelope) -> None:
    """An answer without a result is an empty one."""
    one = f"<UpdateIdentity><UpdateID>{GUID}</UpdateID><RevisionNumber>7</RevisionNumber></UpdateIdentity>"
    operation = "GetRelatedRevisionsForUpdates"
    assert answers.read_related_revisions(envelope(wrap(operation, one))) == (UpdateIdentity(GUID, 7),)
    assert answers.read_related_revisions(envelope(f'<{operation}Response xmlns="{SD}"/>')) == ()


def test_update_data_keeps_blobs_undecoded(envelope: Envelope) -> None:
    """Plain text stays exact, a cabinet stays base64, a record without either is still a record."""
    identity = f"<Id><UpdateID>{GUID}</UpdateID><RevisionNumber>7</RevisionNumber></Id>"
    members = (
        f"<updates><ServerSyncUpdateData>{identity}<XmlUpdateBlob> &lt;a/&gt;</XmlUpdateBlob>"
        f"</ServerSyncUpdateData><ServerSyncUpdateData>{identity}<FileDigestList><base64Binary>h/W9</base64Binary>"
        "<base64Binary/></FileDigestList><XmlUpdateBlobCompressed>TVND</XmlUpdateBlobCompressed>"
        f"</ServerSyncUpdateData><ServerSyncUpdateData>{identity}</ServerSyncUpdateData></updates>"
        "<fileUrls><ServerSyncUrlData><FileDigest>h/W9</FileDigest><MUUrl>http://x/y</MUUrl><UssUrl />"
        "</ServerSyncUrlData></fileUrls>"
    )
    data = answers.read_update_data(envelope(wrap("GetUpdateData", members)))
    revision = UpdateIdentity(GUID, 7)
    assert data.updates == (
        UpdateRecord(revision, " <a/>", None),
        UpdateRecord(revision, None, "TVND", ("h/W9",)),
        UpdateRecord(revision, None, None),
    )
    assert data.file_urls == (UrlData("h/W9", "http://x/y", None),)


def test_update_data_may_be_empty(envelope: Envelope) -> None:
    """Nothing found is an answer too."""
    data = answers.read_update_data(envelope(f'<GetUpdateDataResponse xmlns="{SD}"/>'))
    assert (data.updates, data.file_urls) == ((), ())


BAD = [
    (answers.read_cookie, "<Other/>", "is not a GetCookieResponse"),
    (answers.read_cookie, f'<GetCookieResponse xmlns="{SD}"/>', "has no GetCookieResult"),
    (answers.read_cookie, wrap("GetCookie", "<Expiration>x</Expiration>"), "EncryptedData is missing"),
    (answers.read_auth_config, wrap("GetAuthConfig", ""), "has no GetAuthConfigResult"),
    (
        answers.read_config_data,
        wrap("GetConfigData", "<CatalogOnlySync>yes</CatalogOnlySync>"),
        "CatalogOnlySync is not a boolean: 'yes'",
    ),
    *(
        (
            answers.read_revision_id_list,
            wrap(
                "GetRevisionIdList",
                f"<NewRevisions><UpdateIdentity><UpdateID>{guid}</UpdateID><RevisionNumber>{number}</RevisionNumber>"
                "</UpdateIdentity></NewRevisions>",
            ),
            reason,
        )
        for guid, number, reason in (
            ("{" + GUID + "}", "1", "UpdateID is not a GUID"),
            ("", "1", "UpdateID is missing"),
            (GUID, "-1", "RevisionNumber is not a number"),
            (GUID, "2147483648", "RevisionNumber is not a number"),
            (GUID, "9" * 5000, "RevisionNumber is not a number"),
            (GUID, "١", "RevisionNumber is not a number"),
        )
    ),
]


@pytest.mark.parametrize(("read", "inner", "reason"), BAD)
def test_what_cannot_be_used_is_an_invalid_answer(
    envelope: Envelope, read: Callable[[bytes], Any], inner: str, reason: str
) -> None:
    """The reason names the member."""
    with pytest.raises(InvalidAnswer, match=reason):
        read(envelope(inner))


def test_a_fault_is_read_wherever_it_comes(envelope: Envelope, fault: Callable[..., Any]) -> None:
    """ErrorCode, Message and Method, the latter without its quotes."""
    with pytest.raises(SoapFault) as caught:
        answers.read_cookie(fault("InvalidParameters", "updateIds").body)
    assert caught.value.error_code == "InvalidParameters"
    assert caught.value.message == "updateIds"
    assert caught.value.method == f"{SD}/GetUpdateData"
    assert str(caught.value) == "the upstream refused GetUpdateData: InvalidParameters: updateIds"


@pytest.mark.parametrize(
    ("inner", "sentence"),
    [
        ("<s:Fault/>", "the upstream refused the call: no ErrorCode"),
        ("<s:Fault><faultstring>x</faultstring></s:Fault>", "the upstream refused the call: no ErrorCode"),
        (
            "<s:Fault><Detail><ErrorCode>ServerBusy</ErrorCode></Detail></s:Fault>",
            "the upstream refused the call: ServerBusy",
        ),
        (
            "<s:Fault><s:Detail><ErrorCode>ServerBusy</ErrorCode></s:Detail></s:Fault>",
            "the upstream refused the call: ServerBusy",
        ),
    ],
)
def test_faults_of_other_shapes_are_faults(envelope: Envelope, inner: str, sentence: str) -> None:
    """SOAP 1.2 puts a Detail of no namespace beside its own; a fault may have no detail at all."""
    assert str(answers.read_fault(envelope(inner))) == sentence


def test_what_is_no_fault_is_none(envelope: Envelope) -> None:
    """An error page, or an ordinary answer, holds no fault."""
    assert answers.read_fault(b"<html>Server Error</html>") is None
    assert answers.read_fault(envelope("<a/>")) is None


@pytest.mark.parametrize("text", [GUID, GUID.upper(), f"  {GUID}\n"])
def test_a_wire_guid_is_read_in_any_case(text: str) -> None:
    """Old categories are written in upper case."""
    assert wire_guid(text) == GUID


@pytest.mark.parametrize("text", ["", "x", f"{{{GUID}}}", GUID.replace("-", ""), GUID + "0", GUID[:-1] + "٣"])
def test_what_is_no_wire_guid_is_refused(text: str) -> None:
    """The wire type knows neither braces nor other digits."""
    with pytest.raises(ValueError, match="not a GUID"):
        wire_guid(text)
