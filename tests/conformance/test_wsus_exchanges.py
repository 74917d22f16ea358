"""Exchanges captured from a real WSUS: every answer is read, every request is what ours is."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import pytest
from lxml import etree

from mdm.upstream import answers, requests
from mdm.upstream.blob import BlobReader
from mdm.upstream.errors import SoapFault
from mdm.upstream.messages import AuthorizationCookie, Cookie, RevisionFilter, UpdateIdentity

if TYPE_CHECKING:
    from collections.abc import Callable

DATA: Final = Path(__file__).parents[2].parent / "shared" / "data" / "wsus"

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the captured exchanges are not at hand")

SOAP: Final = "{http://schemas.xmlsoap.org/soap/envelope/}"
SD: Final = "{http://www.microsoft.com/SoftwareDistribution}"
DA: Final = "{http://www.microsoft.com/SoftwareDistribution/Server/DssAuthWebService}"

Tree = tuple[str, str, tuple[Any, ...]]


def tree(element: ET.Element) -> Tree:
    """An element as name, text and children: what two messages must share to be the same."""
    return element.tag, (element.text or "").strip(), tuple(tree(each) for each in element)


def call_of(data: bytes) -> ET.Element:
    """The operation element inside the SOAP body."""
    body = ET.fromstring(data).find(f"{SOAP}Body")  # noqa: S314 - our own message, or a known file
    assert body is not None
    return body[0]


def text(call: ET.Element, path: str) -> str:
    """The text of one element of a captured request."""
    found = call.findtext(path)
    assert found is not None
    return found


def cookie_of(call: ET.Element) -> Cookie:
    """The cookie a captured request shows."""
    return Cookie(text(call, f"{SD}cookie/{SD}Expiration"), text(call, f"{SD}cookie/{SD}EncryptedData"))


def identities_of(call: ET.Element) -> list[UpdateIdentity]:
    """The revisions a captured GetUpdateData asks for."""
    return [
        UpdateIdentity(text(each, f"{SD}UpdateID"), int(text(each, f"{SD}RevisionNumber")))
        for each in call.iter(f"{SD}UpdateIdentity")
    ]


def ids_of(call: ET.Element, name: str) -> tuple[tuple[str, bool], ...]:
    """The pairs of Categories or Classifications."""
    return tuple(
        (text(each, f"{SD}Id"), text(each, f"{SD}Delta") == "true")
        for each in call.findall(f"{SD}filter/{SD}{name}/{SD}IdAndDelta")
    )


def rebuild_revision_list(call: ET.Element) -> requests.SoapRequest:
    """Our GetRevisionIdList with a captured one's values."""
    wanted = RevisionFilter(
        get_config=text(call, f"{SD}filter/{SD}GetConfig") == "true",
        anchor=call.findtext(f"{SD}filter/{SD}Anchor"),
        categories=ids_of(call, "Categories"),
        classifications=ids_of(call, "Classifications"),
    )
    return requests.get_revision_id_list(cookie_of(call), wanted)


REQUESTS: Final[dict[str, Callable[[ET.Element], requests.SoapRequest]]] = {
    "ws2025_000002_GetAuthorizationCookie_request.xml": lambda call: requests.get_authorization_cookie(
        text(call, f"{DA}accountName"), text(call, f"{DA}accountGuid")
    ),
    "ws2025_000003_GetCookie_request.xml": lambda call: requests.get_cookie(
        AuthorizationCookie(
            text(call, f"{SD}authCookies/{SD}AuthorizationCookie/{SD}PlugInId"),
            text(call, f"{SD}authCookies/{SD}AuthorizationCookie/{SD}CookieData"),
        )
    ),
    "ws2025_000005_GetConfigData_request.xml": lambda call: requests.get_config_data(cookie_of(call)),
    "ws2025_000013_GetUpdateData_request.xml": lambda call: requests.get_update_data(
        cookie_of(call), identities_of(call)
    ),
}
"""Captured requests that the schema accepts."""

INCOMPLETE_REQUESTS: Final = (
    "ws2025_000006_GetRevisionIdList_GetConfig_request.xml",
    "ws2025_000011_GetRevisionIdList_delta_request.xml",
)
"""They lack Get63LanguageOnly, which the schema and Microsoft Update require and a WSUS does without."""

ANSWERS: Final[dict[str, Callable[[bytes], Any]]] = {
    "ws2025_000001_GetAuthConfig_response.xml": answers.read_auth_config,
    "ws2025_000002_GetAuthorizationCookie_response.xml": answers.read_authorization_cookie,
    "ws2025_000003_GetCookie_response.xml": answers.read_cookie,
    "ws2025_000004_GetConfigData_response_withanchor.xml": answers.read_config_data,
    "ws2025_client000004_GetConfigData_response_full.xml": answers.read_config_data,
    "ws2025_000006_GetRevisionIdList_GetConfig_response_trimmed30.xml": answers.read_revision_id_list,
    "ws2025_000011_GetRevisionIdList_delta_response_empty.xml": answers.read_revision_id_list,
    "ws2025_000014_GetUpdateData_response_compressed_leaf.xml": answers.read_update_data,
    "ws2025_000015_GetUpdateData_response_uncompressed.xml": answers.read_update_data,
    "ws2025_000016_GetUpdateData_response_compressed_category.xml": answers.read_update_data,
}

FAULTS: Final = {
    "ws2025_000017_fault_InternalServerError_unknown_id.xml": ("InternalServerError", "GetUpdateData"),
    "ws2025_000019_fault_InvalidCookie.xml": ("InvalidCookie", "GetRevisionIdList"),
}

BLOBS: Final = {
    "blob_266f6222_r200_XmlUpdateBlobCompressed.cab": (29156, "9560af3bb8cebb073b34f47e5a63c9f3"),
    "blob_56309036_r101_XmlUpdateBlobCompressed.cab": (9834, "29418cb6044a93196e7d9667cbc89dad"),
}
"""Length and MD5 of the UTF-16LE text inside."""


def read(name: str) -> bytes:
    """A captured file."""
    return (DATA / name).read_bytes()


def test_no_capture_is_left_out() -> None:
    """A file that is added is a test that is missing."""
    known = {*REQUESTS, *INCOMPLETE_REQUESTS, *ANSWERS, *FAULTS}
    assert {path.name for path in DATA.glob("ws2025_*.xml")} == known
    assert {path.name for path in DATA.glob("*.cab")} == set(BLOBS)


# --- requests -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REQUESTS)
def test_our_request_is_the_captured_one(name: str) -> None:
    """Element for element and text for text."""
    captured = call_of(read(name))
    assert tree(call_of(REQUESTS[name](captured).body)) == tree(captured)


@pytest.mark.parametrize("name", INCOMPLETE_REQUESTS)
def test_our_revision_list_request_adds_only_what_the_captured_one_lacks(name: str) -> None:
    """One element right after GetConfig, and nothing else."""
    captured = call_of(read(name))
    ours = call_of(rebuild_revision_list(captured).body)
    assert tree(ours) != tree(captured)
    sent = ours.find(f"{SD}filter")
    assert sent is not None
    names = [each.tag for each in sent]
    added = sent[names.index(f"{SD}GetConfig") + 1]
    assert (added.tag, added.text) == (f"{SD}Get63LanguageOnly", "false")
    sent.remove(added)
    assert tree(ours) == tree(captured)


@cache
def schema(wsdl: str, namespace: str) -> etree.XMLSchema:
    """The schema of one namespace inside a WSDL; the imported guid type is given in place."""
    definitions = etree.parse(DATA / wsdl).getroot()
    found = {
        each.get("targetNamespace"): each
        for each in definitions.iter("{http://www.w3.org/2001/XMLSchema}schema")
    }
    guid = etree.tostring(found["http://microsoft.com/wsdl/types/"]).decode()
    inline = f"data:{base64.b64encode(guid.encode()).decode()}"
    main = etree.tostring(found[namespace]).decode()
    main = re.sub(
        r'(namespace="http://microsoft.com/wsdl/types/") ?/>', rf'\1 schemaLocation="{inline}"/>', main
    )

    class Inline(etree.Resolver):
        def resolve(self, url: str, _public_id: str, context: Any) -> Any:
            if url == inline:
                return self.resolve_string(guid, context)
            return None

    parser = etree.XMLParser()
    parser.resolvers.add(Inline())
    return etree.XMLSchema(etree.fromstring(main.encode(), parser))


GUID = "72e7624a-5b00-45d2-b92f-e561c0a6a160"
COOKIE = Cookie("2026-10-04T20:33:26.65455Z", "AAEC")
SENT = [
    requests.get_auth_config(),
    requests.get_authorization_cookie("mdm.example.org", GUID),
    requests.get_cookie(AuthorizationCookie("DssTargeting", "AAEC"), COOKIE),
    requests.get_config_data(COOKIE, "9438,2026-10-04 16:09:27.167"),
    requests.get_revision_id_list(COOKIE, RevisionFilter(get_config=True)),
    requests.get_revision_id_list(
        COOKIE,
        RevisionFilter(
            get_config=False, anchor="a", categories=((GUID, True),), classifications=((GUID, False),)
        ),
    ),
    requests.get_update_data(COOKIE, [UpdateIdentity(GUID, 1), UpdateIdentity(GUID, 2)]),
    requests.get_related_revisions(COOKIE, [GUID]),
]


@pytest.mark.parametrize("request_", SENT, ids=lambda request: request.operation)
def test_every_request_we_send_meets_the_schema(request_: requests.SoapRequest) -> None:
    """That of the WSDL in the specification, which the captured revision lists do not meet."""
    wsdl = "ServerSyncWebService.wsdl" if request_.namespace == SD[1:-1] else "DssAuthWebService.wsdl"
    call = etree.fromstring(ET.tostring(call_of(request_.body)))
    schema(wsdl, request_.namespace).assertValid(call)


@pytest.mark.parametrize("name", INCOMPLETE_REQUESTS)
def test_the_schema_refuses_the_captured_revision_lists(name: str) -> None:
    """So that the check above can fail."""
    call = etree.fromstring(ET.tostring(call_of(read(name))))
    assert not schema("ServerSyncWebService.wsdl", SD[1:-1]).validate(call)


# --- answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ANSWERS)
def test_every_captured_answer_is_read(name: str) -> None:
    """Without an error."""
    assert ANSWERS[name](read(name)) is not None


@pytest.mark.parametrize("name", FAULTS)
def test_every_captured_fault_is_read(name: str) -> None:
    """Its code, and the call it is about."""
    code, operation = FAULTS[name]
    fault = answers.read_fault(read(name))
    assert fault is not None
    assert (fault.error_code, fault.message) == (code, "")
    assert fault.method == f"{SD[1:-1]}/{operation}"
    with pytest.raises(SoapFault):
        answers.read_cookie(read(name))


def test_the_captured_login_is_read_whole() -> None:
    """The relative service URL, the length of the cookies, and the Expiration with its five digits."""
    config = answers.read_auth_config(read("ws2025_000001_GetAuthConfig_response.xml"))
    (plugin,) = config.plugins
    assert (plugin.plugin_id, plugin.service_url) == (
        "DssTargeting",
        "DssAuthWebService/DssAuthWebService.asmx",
    )
    authorization = answers.read_authorization_cookie(
        read("ws2025_000002_GetAuthorizationCookie_response.xml")
    )
    assert len(base64.b64decode(authorization.cookie_data)) == 432
    cookie = answers.read_cookie(read("ws2025_000003_GetCookie_response.xml"))
    assert cookie.expiration == "2026-10-04T20:33:26.65455Z"
    assert len(base64.b64decode(cookie.encrypted_data)) == 208


def test_the_captured_configuration_is_read_whole() -> None:
    """39 languages at first, none with a fresh anchor."""
    full = answers.read_config_data(read("ws2025_client000004_GetConfigData_response_full.xml"))
    assert len(full.languages) == 39
    assert (full.max_updates_per_request, full.max_driver_sets_per_request) == (100, 0)
    assert (full.new_config_anchor, full.protocol_version) == ("9438,2026-10-04 16:09:27.167", "1.20")
    assert (full.catalog_only_sync, full.lazy_sync, full.server_hosts_psf_files) == (False, True, False)
    delta = answers.read_config_data(read("ws2025_000004_GetConfigData_response_withanchor.xml"))
    assert delta.languages == ()


def test_the_captured_revision_list_holds_several_revisions_of_an_id() -> None:
    """Which the specification rules out."""
    name = "ws2025_000006_GetRevisionIdList_GetConfig_response_trimmed30.xml"
    listed = answers.read_revision_id_list(read(name))
    assert listed.anchor == "9438,2026-10-04 16:33:26.671"
    assert len(listed.revisions) == 30
    assert len({each.update_id for each in listed.revisions}) < 30
    empty = answers.read_revision_id_list(read("ws2025_000011_GetRevisionIdList_delta_response_empty.xml"))
    assert (empty.anchor, empty.revisions) == ("9438,2026-10-04 16:33:26.848", ())


def test_the_captured_leaf_names_its_file() -> None:
    """The digest joins the record and the URL."""
    data = answers.read_update_data(read("ws2025_000014_GetUpdateData_response_compressed_leaf.xml"))
    (record,), (url,) = data.updates, data.file_urls
    assert record.file_digests == (url.file_digest,)
    assert url.mu_url is not None
    assert url.mu_url.startswith("http://download.windowsupdate.com/")
    assert url.uss_url is None


@pytest.mark.parametrize("name", [name for name in ANSWERS if "GetUpdateData" in name])
def test_every_captured_update_is_the_document_it_says(name: str) -> None:
    """Decoded, it is the known document of its identity, byte for byte."""
    for record in answers.read_update_data(read(name)).updates:
        update_id, number = record.identity.update_id, record.identity.revision_number
        known = (DATA / f"meta_{update_id}-r{number}.xml").read_text(encoding="utf-8")
        with BlobReader() as blobs:
            assert b"".join(blobs.document_of(record)).decode() == known


@pytest.mark.parametrize("name", BLOBS)
def test_real_cabinets_decode_to_the_known_text(name: str) -> None:
    """LZX with a window of 2 MiB: length and MD5 of the UTF-16LE text."""
    with BlobReader() as blobs:
        decoded = b"".join(blobs.decode_cabinet(read(name))).decode().encode("utf-16-le")
    assert (len(decoded), hashlib.md5(decoded, usedforsecurity=False).hexdigest()) == BLOBS[name]
