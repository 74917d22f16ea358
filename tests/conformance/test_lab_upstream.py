"""The virtual upstream against the specification's schemas and against what a real WSUS was asked and answered."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx2
import pytest
from lxml import etree
from pylibmspack import CabArchive

from mdm.lab.catalogue import Catalogue
from mdm.lab.documents import AtLeastOne, Document, File, Handler, Identity, Revision, Text, document, render
from mdm.lab.generate import build_catalogue
from mdm.lab.upstream import UpstreamOptions, UpstreamServer
from mdm.lab.upstream_deployments import Deployment, TargetGroup

DATA: Final = Path(__file__).parents[2].parent / "shared" / "data" / "wsus"

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the captured exchanges are not at hand")

SYNC: Final = "/ServerSyncWebService/ServerSyncWebService.asmx"
AUTH: Final = "/DssAuthWebService/DssAuthWebService.asmx"
SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
SD: Final = "http://www.microsoft.com/SoftwareDistribution"
DA: Final = f"{SD}/Server/DssAuthWebService"
IM: Final = f"{SD}/Server/IMonitorable"
XS: Final = "{http://www.w3.org/2001/XMLSchema}"
CLASSIFIED: Final = (
    "<Categories><IdAndDelta><Id>72e7624a-5b00-45d2-b92f-e561c0a6a160</Id><Delta>false</Delta></IdAndDelta></Categories>"
    "<Classifications><IdAndDelta><Id>0fa1201d-4330-4fa8-8ae9-b877473b6441</Id><Delta>false</Delta></IdAndDelta>"
    "</Classifications>"
)

Serve = Callable[..., UpstreamServer]


def captured(name: str) -> str:
    """A captured message, as it was on the wire."""
    return (DATA / f"ws2025_{name}.xml").read_bytes().decode().rstrip("\r\n")


@pytest.fixture(scope="module")
def http() -> Iterator[httpx2.Client]:
    """One client for the file."""
    with httpx2.Client() as client:
        yield client


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts an upstream with documents and options."""
    running: list[UpstreamServer] = []

    def start(*documents: Document, options: UpstreamOptions | None = None) -> UpstreamServer:
        running.append(UpstreamServer(Catalogue((), documents), options=options))
        running[-1].start()
        return running[-1]

    yield start
    for server in running:
        server.stop()


def post(http: httpx2.Client, server: UpstreamServer, body: str, path: str = SYNC) -> httpx2.Response:
    """Send a whole envelope."""
    return http.post(
        server.url + path, content=body.encode(), headers={"Content-Type": "text/xml; charset=utf-8"}
    )


def call(
    http: httpx2.Client, server: UpstreamServer, operation: str, arguments: str, namespace: str = SD
) -> httpx2.Response:
    """Send a call."""
    path = AUTH if namespace == DA else SYNC
    inner = f'<{operation} xmlns="{namespace}">{arguments}</{operation}>'
    return post(
        http,
        server,
        f'<soap:Envelope xmlns:soap="{SOAP}"><soap:Body>{inner}</soap:Body></soap:Envelope>',
        path,
    )


def authorization(http: httpx2.Client, server: UpstreamServer) -> str:
    """CookieData for the captured account."""
    return text(post(http, server, captured("000002_GetAuthorizationCookie_request"), AUTH), "CookieData")


def cookie(http: httpx2.Client, server: UpstreamServer) -> tuple[str, str]:
    """Expiration and EncryptedData."""
    request = captured("000003_GetCookie_request")
    answer = post(http, server, re.sub("A{20,}=*", authorization(http, server), request))
    return text(answer, "Expiration"), text(answer, "EncryptedData")


def with_cookie(request: str, good: tuple[str, str]) -> str:
    """A captured request with a cookie of ours in the place of the redacted one."""
    expiration, data = good
    request = re.sub("<Expiration>.*?</Expiration>", f"<Expiration>{expiration}</Expiration>", request)
    return re.sub("<EncryptedData>.*?</EncryptedData>", f"<EncryptedData>{data}</EncryptedData>", request)


def text(response: httpx2.Response, name: str) -> str:
    """The text of the one element of that name."""
    assert response.status_code == 200, response.text
    (found,) = etree.fromstring(response.content).iter(f"{{*}}{name}")
    return found.text or ""


def skeleton(message: str) -> str:
    """The message without its texts: declaration, prefixes, attributes, order and empty elements remain."""
    return re.sub(r"(?<=>)[^<>]+(?=</)", "…", message)


# --- schemas --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> etree.XMLSchema:
    """One schema of everything the two WSDLs define, each target namespace once."""
    folder = tmp_path_factory.mktemp("schema")
    parts: dict[str, etree._Element] = {}
    for name in ("ServerSyncWebService", "DssAuthWebService"):
        for part in etree.parse(DATA / f"{name}.wsdl").iter(f"{XS}schema"):
            parts.setdefault(part.get("targetNamespace"), part)
    files = {namespace: f"part{number}.xsd" for number, namespace in enumerate(parts)}
    for namespace, part in parts.items():
        for reference in part.iter(f"{XS}import"):
            reference.set("schemaLocation", files[reference.get("namespace")])
        (folder / files[namespace]).write_bytes(etree.tostring(part))
    imports = "".join(f'<xs:import namespace="{ns}" schemaLocation="{file}"/>' for ns, file in files.items())
    whole = folder / "whole.xsd"
    whole.write_text(f'<xs:schema xmlns:xs="{XS.strip("{}")}">{imports}</xs:schema>')
    return etree.XMLSchema(etree.parse(whole))


def valid(schema: etree.XMLSchema, response: httpx2.Response) -> bool:
    """Validate the element in soap:Body; an invalid one fails the test with the validator's words."""
    assert response.status_code == 200, response.text
    body = etree.fromstring(response.content)[0][0]
    schema.assertValid(etree.ElementTree(etree.fromstring(etree.tostring(body))))
    return True


def test_the_schema_refuses_a_wrong_order(schema: etree.XMLSchema) -> None:
    """The referee is awake: Microsoft Update's member order of GetConfigData does not validate."""
    good = captured("000004_GetConfigData_response_withanchor")
    members = etree.fromstring(good.encode())[0][0]
    assert schema.validate(members)
    members[0].insert(3, members[0][6])
    assert not schema.validate(members)


def test_every_answer_validates(schema: etree.XMLSchema, serve: Serve, http: httpx2.Client) -> None:
    """Each operation over the generated catalogue, plain and compressed, with and without anchors."""
    catalogue = build_catalogue(1, datetime(2026, 11, 21, tzinfo=UTC))
    server = serve(*catalogue.documents, options=UpstreamOptions(max_answer_bytes=10**8))
    assert valid(schema, call(http, server, "GetAuthConfig", ""))
    account = (
        "<accountName>a.example</accountName><accountGuid>6f1c2f6e-3f0b-4d3a-9b1e-0d2f6a1c5e12</accountGuid>"
    )
    assert valid(schema, call(http, server, "GetAuthorizationCookie", account, DA))
    good = "<cookie><Expiration>{}</Expiration><EncryptedData>{}</EncryptedData></cookie>".format(
        *cookie(http, server)
    )
    config = call(http, server, "GetConfigData", good)
    assert valid(schema, config)
    anchor = text(config, "NewConfigAnchor")
    assert valid(schema, call(http, server, "GetConfigData", f"{good}<configAnchor>{anchor}</configAnchor>"))
    for members in (
        "<GetConfig>true</GetConfig>",
        "<GetConfig>false</GetConfig>",
        f"<GetConfig>false</GetConfig>{CLASSIFIED}",
        f"<Anchor>{anchor}</Anchor><GetConfig>false</GetConfig>",
    ):
        assert valid(schema, call(http, server, "GetRevisionIdList", f"{good}<filter>{members}</filter>"))
    identities = [
        f"<UpdateIdentity><UpdateID>{key}</UpdateID><RevisionNumber>{number}</RevisionNumber></UpdateIdentity>"
        for key, number in (each.identity for each in catalogue.documents)
    ]
    for start in range(0, len(identities), 100):
        asked = f"{good}<updateIds>{''.join(identities[start : start + 100])}</updateIds>"
        assert valid(schema, call(http, server, "GetUpdateData", asked))
    one = f"{good}<updateIds>{identities[0]}</updateIds>"
    assert valid(schema, call(http, server, "GetUpdateDecryptionData", one))
    guid = f"<guid>{catalogue.documents[0].update_id}</guid>"
    assert valid(
        schema, call(http, server, "GetRelatedRevisionsForUpdates", f"{good}<updateIDs>{guid}</updateIDs>")
    )
    assert valid(schema, call(http, server, "GetDeployments", f"{good}<syncAnchor>{anchor}</syncAnchor>"))
    digest = next(file.digest for each in catalogue.documents for file in each.files)
    files = f"{good}<fileDigestList><base64Binary>{digest}</base64Binary></fileDigestList>"
    assert valid(schema, call(http, server, "DownloadFiles", files))
    assert valid(schema, call(http, server, "Ping", "<pingLevel>1</pingLevel>", IM))


def test_what_administrators_decided_validates(
    schema: etree.XMLSchema, serve: Serve, http: httpx2.Client
) -> None:
    """Deployments, groups, hidden updates and keys of encrypted files, each with all of its members."""
    moment = datetime(2026, 10, 4, tzinfo=UTC)
    secret = File("a.cab", 1, b"1" * 20, b"2" * 32, moment, url="http://a.example/a.cab", key=b"key")
    server = serve(Document(*HIDDEN, "<a/>", files=(secret,)))
    good = "<cookie><Expiration>{}</Expiration><EncryptedData>{}</EncryptedData></cookie>".format(
        *cookie(http, server)
    )
    key, number = HIDDEN
    identity = f"<UpdateIdentity><UpdateID>{key}</UpdateID><RevisionNumber>{number}</RevisionNumber></UpdateIdentity>"
    keys = call(http, server, "GetUpdateDecryptionData", f"{good}<updateIds>{identity}</updateIds>")
    assert valid(schema, keys)
    assert text(keys, "DecryptionKey")
    anchor = text(call(http, server, "GetConfigData", good), "NewConfigAnchor")
    gone = Deployment("dddddddd-0000-4000-8000-000000000002", HIDDEN)
    server.deploy(Deployment("dddddddd-0000-4000-8000-000000000001", HIDDEN, deadline=moment))
    server.deploy(gone)
    server.undeploy(gone.deployment_id)
    server.decide(groups=[TargetGroup(key, "Pilot")], hidden_updates=[key], accepted_eulas=[key])
    anchors = f"<deploymentAnchor>{anchor}</deploymentAnchor><syncAnchor>{anchor}</syncAnchor>"
    decided = call(http, server, "GetDeployments", good + anchors)
    assert valid(schema, decided)
    for name in ("Deployments", "DeadDeployments", "HiddenUpdates", "AcceptedEulas"):
        assert f"<{name}><" in decided.text


# --- captured requests, and the shape of captured answers -----------------------------------------------


def test_authentication_has_the_captured_shape(
    schema: etree.XMLSchema, serve: Serve, http: httpx2.Client
) -> None:
    """GetAuthConfig, GetAuthorizationCookie and GetCookie: the same bytes but for the values."""
    server = serve()
    config = call(http, server, "GetAuthConfig", "")
    assert skeleton(config.text) == skeleton(captured("000001_GetAuthConfig_response"))
    answer = post(http, server, captured("000002_GetAuthorizationCookie_request"), AUTH)
    theirs = captured("000002_GetAuthorizationCookie_response")
    assert valid(schema, answer)
    assert skeleton(answer.text) == skeleton(theirs)
    assert len(answer.text) == len(theirs)
    request = re.sub("A{20,}=*", authorization(http, server), captured("000003_GetCookie_request"))
    answer = post(http, server, request)
    assert valid(schema, answer)
    assert skeleton(answer.text) == skeleton(captured("000003_GetCookie_response"))


def test_the_captured_cookie_is_not_ours(serve: Serve, http: httpx2.Client) -> None:
    """The redacted cookies are refused, with the captured fault but for its id and address."""
    server = serve()
    answer = post(http, server, captured("000003_GetCookie_request"))
    assert "<ErrorCode>InvalidAuthorizationCookie</ErrorCode>" in answer.text
    answer = post(http, server, captured("000006_GetRevisionIdList_GetConfig_request"))
    assert answer.status_code == 500
    expected = captured("000019_fault_InvalidCookie").replace("http://127.0.0.1:8530", server.url)
    assert re.sub("<ID>.*</ID>", "", answer.text) == re.sub("<ID>.*</ID>", "", expected)
    assert re.search("<ID>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}</ID>", answer.text)


def test_headers_are_the_captured_ones(serve: Serve, http: httpx2.Client) -> None:
    """Content-Type and Cache-Control to the letter, and a Content-Length."""
    lines = (DATA / "ws2025_000014_response.headers.txt").read_text().splitlines()
    theirs = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    answer = call(http, serve(), "GetAuthConfig", "")
    for name in ("Content-Type", "Cache-Control"):
        assert answer.headers[name] == theirs[name]
    assert int(answer.headers["Content-Length"]) == len(answer.content)


def test_config_data_has_the_captured_shape(serve: Serve, http: httpx2.Client) -> None:
    """The first call has languages of the captured form, a call with an anchor has an empty list."""
    server = serve()
    good = cookie(http, server)
    request = with_cookie(captured("000005_GetConfigData_request"), good)
    first = post(http, server, request)

    def collapsed(message: str) -> str:
        language = "<ServerSyncLanguageData>.*?</ServerSyncLanguageData>"
        return re.sub(f"({language})(?:{language})*", r"\1", skeleton(message))

    assert collapsed(first.text) == collapsed(captured("client000004_GetConfigData_response_full"))
    anchor = f"<configAnchor>{text(first, 'NewConfigAnchor')}</configAnchor>"
    second = post(http, server, request.replace("</cookie>", f"</cookie>{anchor}"))
    assert skeleton(second.text) == skeleton(captured("000004_GetConfigData_response_withanchor"))


def test_the_captured_list_request_gets_the_captured_list(serve: Serve, http: httpx2.Client) -> None:
    """A filter with GetConfig alone, which the schema refuses, is answered; the list is the same to the byte."""
    theirs = captured("000006_GetRevisionIdList_GetConfig_response_trimmed30")
    identities = re.findall("<UpdateID>(.*?)</UpdateID><RevisionNumber>(.*?)</RevisionNumber>", theirs)
    assert len(identities) == 30
    server = serve(
        *(Document(key, int(number), "<c/>", update_type="Category") for key, number in identities)
    )
    request = with_cookie(captured("000006_GetRevisionIdList_GetConfig_request"), cookie(http, server))
    answer = post(http, server, request)
    anchor = "<Anchor>.*?</Anchor>"
    assert re.sub(anchor, "", answer.text) == re.sub(anchor, "", theirs)
    pattern = r"\d+,\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
    assert re.fullmatch(pattern, text(answer, "Anchor"))


def test_the_captured_delta_request_gets_an_empty_list(serve: Serve, http: httpx2.Client) -> None:
    """Its anchor is refused as another server's; with one of ours the answer has the captured shape."""
    server = serve(*build_catalogue(1, datetime(2026, 11, 21, tzinfo=UTC)).documents)
    request = with_cookie(captured("000011_GetRevisionIdList_delta_request"), cookie(http, server))
    assert "<ErrorCode>ServerChanged</ErrorCode>" in post(http, server, request).text
    listed = post(
        http, server, re.sub("<Anchor>.*?</Anchor>", "", request).replace("true</Delta>", "false</Delta>")
    )
    assert listed.text.count("<UpdateIdentity>") > 10
    anchor = re.search("<Anchor>.*?</Anchor>", listed.text)
    assert anchor
    answer = post(http, server, re.sub("<Anchor>.*?</Anchor>", anchor[0], request))
    assert skeleton(answer.text) == skeleton(captured("000011_GetRevisionIdList_delta_response_empty"))


def test_the_captured_update_request_gets_what_it_asks_for(serve: Serve, http: httpx2.Client) -> None:
    """The captured id, once published, is found; before, the fault is the captured one."""
    server = serve()
    request = with_cookie(captured("000013_GetUpdateData_request"), cookie(http, server))
    unknown = post(http, server, request)
    expected = captured("000017_fault_InternalServerError_unknown_id").replace(
        "http://127.0.0.1:8530", server.url
    )
    assert re.sub("<ID>.*</ID>", "", unknown.text) == re.sub("<ID>.*</ID>", "", expected)
    server.publish(Document("a2fef9b0-7951-4c2c-a42b-9e351dd1c1fe", 200, "<found/>"))
    assert text(post(http, server, request), "XmlUpdateBlob") == "<found/>"


def update_data(http: httpx2.Client, server: UpstreamServer, identity: Identity) -> str:
    """The answer to GetUpdateData for one revision."""
    good = "<cookie><Expiration>{}</Expiration><EncryptedData>{}</EncryptedData></cookie>".format(
        *cookie(http, server)
    )
    wanted = f"<UpdateID>{identity.update_id}</UpdateID><RevisionNumber>{identity.revision_number}</RevisionNumber>"
    asked = f"{good}<updateIds><UpdateIdentity>{wanted}</UpdateIdentity></updateIds>"
    return call(http, server, "GetUpdateData", asked).text


def real_document(identity: Identity) -> str:
    """A real update document."""
    return (
        (DATA / f"meta_{identity.update_id}-r{identity.revision_number}.xml")
        .read_text("utf-8")
        .rstrip("\r\n")
    )


HIDDEN: Final = Identity("ccb78947-6453-4ecc-9de8-bc0305c98f2d", 200)
LEAF: Final = Identity("266f6222-c89d-43f2-9f8a-69340271e677", 200)
COMPANY: Final = Identity("56309036-4c77-4dd9-951a-99ee9c246a94", 101)
PRODUCT: Final = Identity("dd78b8a1-0b20-45c1-add6-4da72e9364cf", 202)


def test_a_plain_answer_is_the_captured_one(serve: Serve, http: httpx2.Client) -> None:
    """Given the same document, the whole answer is the captured one, byte for byte."""
    server = serve(Document(*HIDDEN, real_document(HIDDEN)))
    assert update_data(http, server, HIDDEN) == captured("000015_GetUpdateData_response_uncompressed")


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        (LEAF, "000014_GetUpdateData_response_compressed_leaf"),
        (COMPANY, "000016_GetUpdateData_response_compressed_category"),
    ],
)
def test_a_compressed_answer_differs_in_the_compression_only(
    serve: Serve, http: httpx2.Client, identity: Identity, name: str
) -> None:
    """The cabinet holds the same text, and around it every byte is the captured one, files and URLs included."""
    theirs = captured(name)
    url = re.search("<MUUrl>(.*?)</MUUrl>", theirs)
    digest = base64.b64decode("h/W9BGlYUAaqXTp30cZi/SiV3c0=")
    moment = datetime(2026, 10, 4, tzinfo=UTC)
    files = (File("AM_Delta.exe", 11606440, digest, b"", moment, url=url[1]),) if url else ()
    server = serve(Document(*identity, real_document(identity), files=files))
    ours = update_data(http, server, identity)
    blob = "<XmlUpdateBlobCompressed>(.*?)</XmlUpdateBlobCompressed>"
    assert re.sub(blob, "", ours) == re.sub(blob, "", theirs)
    contents = [
        CabArchive.from_bytes(base64.b64decode(found)).read("blob").decode("utf-16-le")
        for message in (ours, theirs)
        for found in re.findall(blob, message)
    ]
    assert contents == [real_document(identity)] * 2


# --- documents ------------------------------------------------------------------------------------------


def tree(element: etree._Element) -> tuple[object, ...]:
    """Names, attributes and texts in document order; which prefix stands where does not matter."""
    return (
        element.tag,
        sorted(element.attrib.items()),
        (element.text or "").strip(),
        [tree(child) for child in element],
    )


def inner(parent: etree._Element, path: str) -> str:
    """The XML of the children of an element, with the declarations they need."""
    found = parent.find(path, {"upd": "http://schemas.microsoft.com/msus/2002/12/Update"})
    assert found is not None
    return "".join(etree.tostring(child, encoding="unicode", with_tail=False) for child in found)


def test_a_hidden_bundle_is_rendered_as_published() -> None:
    """Our renderer gives the real document, byte for byte."""
    children = ("b6f443c9-ad38-4347-bab3-f1dc0b03d533", "0daf8592-9e3f-4a8a-9141-d83fafebd09f")
    children += ("4c0a0a90-4bd5-4fe5-b306-8dbd6fde30a0", "e052d9bd-e49c-4d6e-876e-005b49b89812")
    revision = Revision(
        update_id=HIDDEN.update_id,
        revision_number=200,
        update_type="Software",
        texts=(
            Text(
                "en", "HIDDEN: Defender MpSigStub 1.1.24010.2001 for EngineBroad (Installer 1.1.24010.2001-Q)"
            ),
        ),
        created=datetime(2024, 1, 11, 20, 15, 45, 51000, UTC),
        publisher_id="bccf8ca0-2819-4598-8d15-c1506e363e92",
        prerequisites=(
            AtLeastOne(("e0789628-ce08-4437-be74-2495b842f43b",)),
            AtLeastOne(("8c3fcc84-7410-4a95-8b89-a166a0190486",)),
        ),
        bundled=(tuple(Identity(child, 200) for child in children),),
    )
    assert render(revision) == real_document(HIDDEN)
    assert document(revision).bundled == tuple(Identity(child, 200) for child in children)


def test_a_leaf_is_rendered_with_the_same_tree() -> None:
    """Rules and handler taken over, everything else ours: elements, attributes and order are the real ones."""
    real = etree.fromstring(real_document(LEAF))
    digest = base64.b64decode("h/W9BGlYUAaqXTp30cZi/SiV3c0=")
    sha256 = base64.b64decode("Amt0qymy5KsROiwIXm4QIIV75Ju4r+Cl28Pg8gaLXUA=")
    revision = Revision(
        update_id=LEAF.update_id,
        revision_number=200,
        update_type="Software",
        texts=(
            Text(
                "en",
                "Full Deltas 1.459.547.0 for Defender amd64fre [Ring0, Ring1, Ring2, Ring3, Ring4, Broad, Delayed]",
            ),
        ),
        created=datetime(2026, 10, 4, 12, 0, 58, 287000, UTC),
        publisher_id="bccf8ca0-2819-4598-8d15-c1506e363e92",
        max_download_size=11606440,
        impact="Minor",
        prerequisites=(
            "be4048db-157c-4532-9582-7f05099590c9",
            "59653007-e2e9-4f71-8525-2ff588527978",
            "0aac58ee-82a0-4452-a7fa-19f68398f1fa",
            AtLeastOne(("8c3fcc84-7410-4a95-8b89-a166a0190486",)),
        ),
        is_installed=inner(real, "upd:ApplicabilityRules/upd:IsInstalled"),
        is_installable=inner(real, "upd:ApplicabilityRules/upd:IsInstallable"),
        files=(File("AM_Delta.exe", 11606440, digest, sha256, datetime(2026, 10, 4, 9, 39, 26, tzinfo=UTC)),),
        handler=Handler("cmd", "CommandLineInstallation", inner(real, "upd:HandlerSpecificData")),
    )
    assert tree(etree.fromstring(render(revision))) == tree(real)


def test_a_category_is_rendered_with_the_same_tree() -> None:
    """A product with applicability rules."""
    real = etree.fromstring(real_document(PRODUCT))
    revision = Revision(
        update_id=PRODUCT.update_id,
        revision_number=202,
        update_type="Category",
        texts=(
            Text("en", "OOBE ZDP", "This category would be used by the updates that would meet the ZDP bar."),
        ),
        created=datetime(2015, 8, 25, 20, 9, 50, 2000, UTC),
        publisher_id="395392a0-19c0-48b7-a927-f7c15066d905",
        explicitly_deployable=False,
        per_user=False,
        is_public=True,
        prerequisites=(AtLeastOne(("6964aab4-c5b5-43bd-a17d-ffb4346a8e1d",), is_category=True),),
        is_installed=inner(real, "upd:ApplicabilityRules/upd:IsInstalled"),
        handler=Handler("cat", "Category", inner(real, "upd:HandlerSpecificData")),
    )
    assert tree(etree.fromstring(render(revision))) == tree(real)
