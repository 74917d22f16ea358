"""One update document: element order, escaping, declarations, and the facts an upstream needs of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from lxml import etree

from mdm.lab.documents import (
    NAMESPACES,
    AtLeastOne,
    EulaFile,
    File,
    Handler,
    Identity,
    Revision,
    Text,
    document,
    render,
)
from mdm.lab.releases.applicability import driver_metadata

UPD = f"{{{NAMESPACES['upd']}}}"
CREATED = datetime(2026, 10, 4, 12, 0, 58, 287000, tzinfo=UTC)

PLAIN = Revision(
    update_id="ccb78947-6453-4ecc-9de8-bc0305c98f2d",
    revision_number=200,
    update_type="Software",
    texts=(Text("en", "HIDDEN: Defender"),),
    created=CREATED,
    publisher_id="bccf8ca0-2819-4598-8d15-c1506e363e92",
)
FILE = File(
    "AM_Delta.exe", 11606440, b"\x87\xf5" * 10, b"\x02\xdd" * 16, CREATED, url="http://a.example/x.exe"
)
FULL = replace(
    PLAIN,
    max_download_size=5,
    explicitly_deployable=True,
    auto_select=True,
    eula_id="e",
    msrc_severity="Critical",
    reboot_behavior="CanRequestReboot",
    requires_network=True,
    uninstallable=True,
    support_url="https://a.example/?a=1&b=2",
    kb_articles=("5068861",),
    texts=(Text("de", "Für <alle> & jeden", "Ü", "weg", "http://m", "http://s"), Text("en", "For all")),
    eula_files=(EulaFile("en", FILE, "AUS"), EulaFile("de", FILE)),
    superseded=("s1",),
    prerequisites=("p1", AtLeastOne(("p2", "p3")), AtLeastOne(("C1",), is_category=True)),
    bundled=((Identity("b1", 1), Identity("b2", 2)), (Identity("b3", 3),)),
    is_installed="<lar:True />",
    is_superseded="<lar:False />",
    is_installable="<lar:True />",
    rule_metadata="<m />",
    files=(replace(FILE, patching_type="Express"),),
    handler=Handler("cmd", "CommandLineInstallation", '<cmd:InstallCommand Program="a" />'),
)


def names(element: etree._Element) -> list[str]:
    """Local names of the children."""
    return [etree.QName(child).localname for child in element]


def test_a_hidden_bundle_is_written_as_published() -> None:
    """The smallest document, character for character: an empty element has both tags, declarations stand in order."""
    assert render(PLAIN) == (
        '<upd:Update xmlns:pub="http://schemas.microsoft.com/msus/2002/12/Publishing" '
        'xmlns:upd="http://schemas.microsoft.com/msus/2002/12/Update"><upd:UpdateIdentity '
        'UpdateID="ccb78947-6453-4ecc-9de8-bc0305c98f2d" RevisionNumber="200" />'
        '<upd:Properties UpdateType="Software" DefaultPropertiesLanguage="en" PublicationState="Published" '
        'CreationDate="2026-10-04T12:00:58.287Z" PublisherID="bccf8ca0-2819-4598-8d15-c1506e363e92">'
        "</upd:Properties><upd:LocalizedPropertiesCollection><upd:LocalizedProperties><upd:Language>en"
        "</upd:Language><upd:Title>HIDDEN: Defender</upd:Title></upd:LocalizedProperties>"
        "</upd:LocalizedPropertiesCollection></upd:Update>"
    )


def test_elements_stand_in_the_order_of_the_schema() -> None:
    """Every level of a document that has everything."""
    root = etree.fromstring(render(FULL))
    assert names(root) == [
        "UpdateIdentity",
        "Properties",
        "LocalizedPropertiesCollection",
        "Relationships",
        "ApplicabilityRules",
        "Files",
        "HandlerSpecificData",
    ]
    assert names(root[1]) == ["InstallationBehavior", "UninstallationBehavior", "SupportUrl", "KBArticleID"]
    assert names(root[2]) == ["LocalizedProperties", "LocalizedProperties", "EulaFile", "EulaFile"]
    assert names(root[2][0]) == [
        "Language",
        "Title",
        "Description",
        "UninstallNotes",
        "MoreInfoUrl",
        "SupportUrl",
    ]
    assert names(root[3]) == ["SupersededUpdates", "Prerequisites", "BundledUpdates"]
    assert names(root[3][1]) == ["UpdateIdentity", "AtLeastOne", "AtLeastOne"]
    assert names(root[4]) == ["IsInstalled", "IsInstallable", "IsSuperseded", "Metadata"]


def test_values_are_where_readers_look_for_them() -> None:
    """Attributes and texts of the full document, unescaped."""
    root = etree.fromstring(render(FULL))
    properties = root[1]
    assert properties.get("Handler") == NAMESPACES["cmd"]
    assert (properties.get("MaxDownloadSize"), properties.get("MinDownloadSize")) == ("5", "0")
    assert (properties.get("ExplicitlyDeployable"), properties.get("EulaID")) == ("true", "e")
    assert properties[0].get("RebootBehavior") == "CanRequestReboot"
    assert properties.findtext(f"{UPD}SupportUrl") == "https://a.example/?a=1&b=2"
    assert root.findtext(f".//{UPD}Title") == "Für <alle> & jeden"
    assert [clause.get("IsCategory") for clause in root[3][1]] == [None, None, "true"]
    assert [[child.get("RevisionNumber") for child in clause] for clause in root[3][2]] == [["1", "2"], ["3"]]
    assert dict(root[5][0].attrib) == {
        "Digest": FILE.digest,
        "DigestAlgorithm": "SHA1",
        "FileName": "AM_Delta.exe",
        "Size": "11606440",
        "Modified": "2026-10-04T12:00:58Z",
        "PatchingType": "Express",
    }
    assert dict(root[2][2].attrib) == {
        "Digest": FILE.digest,
        "DigestAlgorithm": "SHA1",
        "FileName": "AM_Delta.exe",
        "Size": "11606440",
        "Language": "en",
        "GeoId": "AUS",
    }
    assert root[5][0][0].text == "At0C3QLdAt0C3QLdAt0C3QLdAt0C3QLdAt0C3QLdAt0="
    assert root[6].get("{http://www.w3.org/2001/XMLSchema-instance}type") == "cmd:CommandLineInstallation"


def test_an_old_category_shouts_its_own_id_only() -> None:
    """The document's UpdateID is upper-case; what lists it knows it in lower case."""
    old = replace(PLAIN, upper_case_id=True)
    assert 'UpdateID="CCB78947-6453-4ECC-9DE8-BC0305C98F2D"' in render(old)
    assert document(old).update_id == PLAIN.update_id


def test_an_expired_revision_says_so() -> None:
    """PublicationState tells, and nobody sees the update any more."""
    visible = replace(PLAIN, explicitly_deployable=True)
    assert visible.visible
    assert not replace(visible, expired=True).visible
    assert not PLAIN.visible
    assert not replace(visible, update_type="Category").visible
    assert 'PublicationState="Expired"' in render(replace(PLAIN, expired=True))


def test_a_document_knows_what_an_upstream_lists_it_by() -> None:
    """Categories come from IsCategory clauses only; ids are lower-case; licence files are files too."""
    served = document(FULL)
    assert served.identity == FULL.identity
    assert served.categories == {"c1"}
    assert served.prerequisites == {"p1", "p2", "p3"}
    assert served.bundled == (Identity("b1", 1), Identity("b2", 2), Identity("b3", 3))
    assert [file.name for file in served.files] == ["AM_Delta.exe"] * 3
    assert served.xml == render(FULL)


def test_a_content_path_ends_in_hash_and_extension() -> None:
    """The folder is the last two hex digits; a name without extension stays without."""
    assert FILE.content_path == f"/Content/F5/{'87F5' * 10}.exe"
    assert replace(FILE, name="LICENCE").content_path == f"/Content/F5/{'87F5' * 10}"


def test_languages_and_bulletins_stand_among_the_properties() -> None:
    """After the KB articles; the upstream lists the document by its languages."""
    bound = replace(PLAIN, kb_articles=("1",), security_bulletin="MS15-001", languages=("de", "fr"))
    properties = etree.fromstring(render(bound))[1]
    assert names(properties) == ["SecurityBulletinID", "KBArticleID", "Language", "Language"]
    assert [child.text for child in properties][2:] == ["de", "fr"]
    assert document(bound).languages == {"de", "fr"}
    assert document(PLAIN).languages == frozenset()


def test_an_encrypted_file_says_so() -> None:
    """At the file, and in a SecuredFragment among the properties; plain files say nothing."""
    root = etree.fromstring(render(replace(PLAIN, files=(replace(FILE, key=b"k"), FILE))))
    assert root.findtext(f"{UPD}Properties/{UPD}SecuredFragment") == "FileDecryption"
    assert [file.get("IsEncrypted") for file in root.iter(f"{UPD}File")] == ["true", None]


def test_a_driver_is_known_by_its_hardware() -> None:
    """Every HardwareID of its metadata, unescaped and in lower case."""
    metadata = "".join(
        driver_metadata(each, provider="p", kind="k", model="m", version="1.0", date="2026-11-21")
        for each in (r"USB\VID_8087&PID_0033", r"PCI\VEN_1")
    )
    driver = document(replace(PLAIN, update_type="Driver", rule_metadata=metadata))
    assert driver.hardware_ids == {r"usb\vid_8087&pid_0033", r"pci\ven_1"}
    assert document(PLAIN).hardware_ids == frozenset()
