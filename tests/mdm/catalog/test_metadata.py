"""Update documents: what is read from them, what may be missing, and what makes one unusable."""

from __future__ import annotations

import contextlib
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.catalog.metadata import (
    METADATA_LIMITS,
    DriverInfo,
    EulaFile,
    LocalizedText,
    MetadataError,
    MetadataReader,
    ParsedRevision,
    Relation,
    parse_metadata,
)
from mdm.lab.bulk import BulkCatalogue
from mdm.upstream.messages import UpdateIdentity

if TYPE_CHECKING:
    from collections.abc import Callable

UPD = "http://schemas.microsoft.com/msus/2002/12/Update"
GUID = "dd78b8a1-0b20-45c1-add6-4da72e9364cf"
A, B, C, D, E, F = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcdef")

FULL = f"""
<upd:Update xmlns:upd="{UPD}" xmlns:bar="http://schemas.microsoft.com/msus/2002/12/BaseApplicabilityRules">
 <upd:UpdateIdentity UpdateID="{GUID.upper()}" RevisionNumber="202"/>
 <upd:Properties UpdateType="Software" DefaultPropertiesLanguage="EN" Handler="urn:handler" MaxDownloadSize="11606440"
   MinDownloadSize="0" ExplicitlyDeployable="true" AutoSelectOnWebSites="true" PublicationState="Published"
   CreationDate="2026-10-04T12:00:58.2871234Z" EulaID="{F.upper()}" MsrcSeverity="Critical">
  <upd:InstallationBehavior RebootBehavior="CanRequestReboot" Impact="Minor"/>
  <upd:UninstallationBehavior/>
  <upd:SupportUrl>https://support.example/help</upd:SupportUrl>
  <upd:SecurityBulletinID>MS26-001</upd:SecurityBulletinID>
  <upd:KBArticleID> 5041585 </upd:KBArticleID>
  <upd:KBArticleID>KB5041586</upd:KBArticleID>
  <upd:KBArticleID>none</upd:KBArticleID>
 </upd:Properties>
 <upd:LocalizedPropertiesCollection>
  <upd:LocalizedProperties>
   <upd:Language>de</upd:Language><upd:Title>Kumulatives Update</upd:Title>
   <upd:MoreInfoUrl>https://info.example/de</upd:MoreInfoUrl>
  </upd:LocalizedProperties>
  <upd:LocalizedProperties>
   <upd:Language>en</upd:Language><upd:Title> Cumulative Update </upd:Title>
   <upd:Description>Fixes &amp; more.</upd:Description><upd:UninstallNotes>Use Settings.</upd:UninstallNotes>
   <upd:MoreInfoUrl>https://info.example/en</upd:MoreInfoUrl><upd:SupportUrl>https://support.example/en</upd:SupportUrl>
  </upd:LocalizedProperties>
  <upd:EulaFile Digest="c2hhMQ==" DigestAlgorithm="SHA1" FileName="eula.txt" Size="123" Language="EN" GeoId="DEU">
   <upd:AdditionalDigest Algorithm="MD5">bWQ1</upd:AdditionalDigest>
   <upd:AdditionalDigest Algorithm="SHA256">c2hhMjU2</upd:AdditionalDigest>
  </upd:EulaFile>
  <upd:EulaFile Digest="b3RoZXI="/>
 </upd:LocalizedPropertiesCollection>
 <upd:Relationships>
  <upd:SupersededUpdates>
   <upd:UpdateIdentity UpdateID="{A.upper()}"/><upd:UpdateIdentity UpdateID="{B}"/><upd:UpdateIdentity UpdateID="{A}"/>
  </upd:SupersededUpdates>
  <upd:Prerequisites>
   <upd:UpdateIdentity UpdateID="{C}"/>
   <upd:AtLeastOne><upd:UpdateIdentity UpdateID="{D}"/><upd:UpdateIdentity UpdateID="{E}"/></upd:AtLeastOne>
   <upd:AtLeastOne IsCategory="true"><upd:UpdateIdentity UpdateID="{B.upper()}"/></upd:AtLeastOne>
   <upd:AtLeastOne IsCategory="true"><upd:UpdateIdentity UpdateID="{A}"/><upd:UpdateIdentity UpdateID="{B}"/></upd:AtLeastOne>
  </upd:Prerequisites>
  <upd:BundledUpdates>
   <upd:AtLeastOne><upd:UpdateIdentity UpdateID="{C}" RevisionNumber="100"/>
    <upd:UpdateIdentity UpdateID="{C}" RevisionNumber="101"/><upd:UpdateIdentity UpdateID="{D}"/></upd:AtLeastOne>
   <upd:UpdateIdentity UpdateID="{E}" RevisionNumber="7"/>
  </upd:BundledUpdates>
 </upd:Relationships>
 <upd:ApplicabilityRules><upd:IsInstalled><bar:WindowsVersion/><upd:UpdateIdentity UpdateID="x"/></upd:IsInstalled>
  text</upd:ApplicabilityRules>
 <upd:Files><upd:File Digest="h/W9" FileName="x"/></upd:Files>
</upd:Update>
"""


def test_everything_the_bridge_needs_is_read() -> None:
    """GUIDs in lower case, text unescaped and stripped, the agent's parts passed over."""
    revision = parse_metadata(FULL)
    assert revision.identity == UpdateIdentity(GUID, 202)
    assert revision.update_type == "Software"
    assert revision.title == "Cumulative Update"
    assert revision.text == LocalizedText(
        "en",
        "Cumulative Update",
        "Fixes & more.",
        "Use Settings.",
        "https://info.example/en",
        "https://support.example/en",
    )
    assert [each.language for each in revision.texts] == ["de", "en"]
    assert revision.default_language == "en"
    assert revision.kb_articles == ("5041585", "5041586")
    assert (revision.msrc_severity, revision.security_bulletin) == ("Critical", "MS26-001")
    assert revision.created == datetime(2026, 10, 4, 12, 0, 58, 287123, tzinfo=UTC)
    assert (revision.publication_state, revision.explicitly_deployable) == ("Published", True)
    assert (revision.handler, revision.reboot_behavior) == ("urn:handler", "CanRequestReboot")
    assert (revision.can_uninstall, revision.max_download_size) == (True, 11606440)
    assert revision.support_url == "https://support.example/help"
    assert revision.more_info_url == "https://info.example/en"
    assert (revision.category_type, revision.parent_id) == (None, None)


def test_the_licence_and_its_texts_are_read() -> None:
    """Digest, language and country; only SHA-256 counts as the additional digest."""
    revision = parse_metadata(FULL)
    assert revision.eula_id == F
    assert revision.eula_files == (
        EulaFile("c2hhMQ==", "c2hhMjU2", "eula.txt", 123, "en", "DEU"),
        EulaFile("b3RoZXI=", None, "", None, "all", None),
    )


def test_categories_come_from_category_clauses_only() -> None:
    """Each once, in the order of the document."""
    assert parse_metadata(FULL).categories == (B, A)


def test_relations_keep_their_clauses() -> None:
    """Targets of one clause are alternatives; a target named twice is one edge to its highest revision."""
    assert parse_metadata(FULL).relations == (
        Relation("supersedes", 0, A),
        Relation("supersedes", 0, B),
        Relation("bundles", 0, C, 101),
        Relation("bundles", 0, D),
        Relation("bundles", 1, E, 7),
        Relation("requires", 0, C),
        Relation("requires", 1, D),
        Relation("requires", 1, E),
    )


MINIMAL = (
    f'<Update xmlns="{UPD}"><UpdateIdentity UpdateID="{GUID}" RevisionNumber="1"/>'
    '<Properties UpdateType="Detectoid"/></Update>'
)


def test_almost_everything_may_be_missing() -> None:
    """Absent booleans are false, absent texts give the id as title."""
    revision = parse_metadata(MINIMAL)
    assert revision.title == GUID
    assert revision.text is None
    assert (revision.publication_state, revision.explicitly_deployable) == ("Published", False)
    assert (revision.created, revision.eula_id, revision.eula_files) == (None, None, ())
    assert (revision.categories, revision.relations, revision.kb_articles) == ((), (), ())
    assert (revision.can_uninstall, revision.reboot_behavior, revision.max_download_size) == (
        False,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("titles", "default", "expected"),
    [
        ({"de": "D", "en": "E"}, "de", "E"),
        ({"de": "D", "fr": "F"}, "fr", "F"),
        ({"de": "D", "all": "A"}, "fr", "A"),
        ({"de": "D", "fr": "F"}, "en", "D"),
        ({"en": None, "de": "D"}, "en", "D"),
        ({"en": None}, "en", GUID),
    ],
)
def test_the_title_is_english_or_the_documents_own_or_any(
    titles: dict[str, str | None], default: str, expected: str
) -> None:
    """A language without a title does not count."""
    texts = tuple(LocalizedText(each, title, None, None, None, None) for each, title in titles.items())
    revision = replace(parse_metadata(MINIMAL), texts=texts, default_language=default)
    assert revision.title == expected


def test_a_category_tells_its_type_and_parent(document: Callable[..., str]) -> None:
    """The handler data's type, and the first category it belongs to."""
    text = document(GUID, update_type="Category", category_type="Product", categories=(A, B))
    revision = parse_metadata(text)
    assert (revision.category_type, revision.parent_id) == ("Product", A)


def test_many_categories_have_no_type(document: Callable[..., str]) -> None:
    """They are kept all the same, and an unknown type as it is written."""
    assert parse_metadata(document(GUID, update_type="Category")).category_type is None
    odd = document(GUID, update_type="Category", category_type="Sub&lt;Family")
    assert parse_metadata(odd).category_type == "Sub&lt;Family"


@pytest.mark.parametrize("year", ["0001", "1601", "1753", "9999"])
def test_years_that_mean_never_are_no_date(document: Callable[..., str], year: str) -> None:
    """Microsoft's servers write them where there is none."""
    text = document(GUID).replace("2026-11-10T18:00:00.123Z", f"{year}-12-31T23:59:59.9999999")
    assert parse_metadata(text).created is None


def test_a_date_without_a_zone_is_utc(document: Callable[..., str]) -> None:
    """CreationDate is UTC by definition."""
    text = document(GUID).replace("18:00:00.123Z", "18:00:00")
    assert parse_metadata(text).created == datetime(2026, 11, 10, 18, 0, tzinfo=UTC)


@pytest.mark.parametrize("moment", ["0002-01-01T00:00:00+23:59", "9998-12-31T23:59:59-23:59"])
def test_the_first_and_last_dates_survive_the_change_to_utc(
    document: Callable[..., str], moment: str
) -> None:
    """No zone can push a year that is not "never" out of the calendar."""
    text = document(GUID).replace("2026-11-10T18:00:00.123Z", moment)
    assert parse_metadata(text).created == datetime.fromisoformat(moment)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "file:///etc/passwd", "http://x y", "/relative", ""])
def test_only_web_urls_are_kept(url: str) -> None:
    """What a console makes a link of cannot be a script."""
    text = FULL.replace("https://support.example/help", url).replace("https://support.example/en", url)
    assert parse_metadata(text).support_url is None


@pytest.mark.parametrize("size", ["-1", "many", "9" * 30, "9223372036854775808"])
def test_a_size_that_is_no_size_is_none(size: str) -> None:
    """It is information for people, not worth refusing a document for."""
    assert parse_metadata(FULL.replace("11606440", size)).max_download_size is None


BAD = [
    ("", "cannot be read"),
    ("<Update>", "cannot be read"),
    ("<Update/>", "not an Update"),
    (f'<Other xmlns="{UPD}"/>', "not an Update"),
    (f'<Update xmlns="{UPD}"/>', "no Properties"),
    (f'<Update xmlns="{UPD}"><Properties UpdateType="Software"/></Update>', "no UpdateIdentity"),
    (MINIMAL.replace("Detectoid", "Wizard"), "UpdateType is 'Wizard'"),
    (MINIMAL.replace(' UpdateType="Detectoid"', ""), "UpdateType is None"),
    (MINIMAL.replace(GUID, "{" + GUID + "}"), "an id is not a GUID"),
    (MINIMAL.replace(f' UpdateID="{GUID}"', ""), "an id is not a GUID"),
    (MINIMAL.replace('RevisionNumber="1"', 'RevisionNumber="-1"'), "RevisionNumber is '-1'"),
    (MINIMAL.replace('RevisionNumber="1"', ""), "RevisionNumber is None"),
    (MINIMAL.replace('RevisionNumber="1"', 'RevisionNumber="2147483648"'), "RevisionNumber is"),
    (FULL.replace("2026-10-04T12:00:58.2871234Z", "yesterday"), "CreationDate is 'yesterday'"),
    (FULL.replace(F.upper(), "none"), "an id is not a GUID"),
    (FULL.replace('Digest="b3RoZXI="', ""), "EulaFile has no Digest"),
    (FULL.replace('RevisionNumber="100"', 'RevisionNumber="x"'), "RevisionNumber is 'x'"),
    (f"<u:ApplicabilityRules xmlns:u='{UPD}'/>", "not an Update"),
    (f"<!DOCTYPE Update>{MINIMAL}", "DOCTYPE"),
    (f'<!DOCTYPE Update [<!ENTITY a "b">]>{MINIMAL}', "DOCTYPE"),
    (MINIMAL.replace("<Properties", "\ud800<Properties"), "cannot be read"),
]


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_a_document_that_cannot_be_used_says_why(text: str, reason: str) -> None:
    """One error, one sentence."""
    with pytest.raises(MetadataError, match=reason):
        parse_metadata(text)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (replace(METADATA_LIMITS, bytes=100), "more than 100 bytes"),
        (replace(METADATA_LIMITS, depth=3), "more than 3 elements deep"),
        (replace(METADATA_LIMITS, elements=20), "more than 20 elements"),
        (replace(METADATA_LIMITS, attributes=5), "more than 5 attributes"),
    ],
)
def test_a_document_is_bounded(limits: object, reason: str) -> None:
    """What is passed over counts as well."""
    with pytest.raises(MetadataError, match=reason):
        parse_metadata(FULL, limits)  # type: ignore[arg-type] - always XmlLimits


def test_a_large_rule_set_costs_no_tree(document: Callable[..., str]) -> None:
    """A cumulative update's rules are passed over: of 200,000 elements none stays in memory."""
    rules = f"<u:ApplicabilityRules>{'<u:And><u:Or/></u:And>' * 100_000}</u:ApplicabilityRules></u:Update>"
    text = document(GUID).replace("</u:Update>", rules)
    tracemalloc.start()
    try:
        assert parse_metadata(text).identity.update_id == GUID
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(text)  # the text itself, its bytes, and no tree of ten times their size


@given(st.text(max_size=40), st.integers(0, len(FULL)))
def test_a_damaged_document_is_an_error_or_a_revision(noise: str, at: int) -> None:
    """Nothing but MetadataError leaves the parsers, and both say the same."""
    damaged = FULL[:at] + noise + FULL[at + len(noise) :]
    assert parsed_or_none(damaged) == parsed_or_none(damaged + COMMENT)


COMMENT = "<!-- what has a comment is left to the guarded parser -->"


def parsed_or_none(document: str) -> ParsedRevision | None:
    """What a document says; None if it cannot be used."""
    with contextlib.suppress(MetadataError):
        return parse_metadata(document)
    return None


def test_both_parsers_read_the_same() -> None:
    """Short documents are read by another parser than the rest: of a whole catalogue it makes no difference."""
    catalogue = BulkCatalogue(seed=7, size=300)
    documents = [catalogue.document(index).xml for index in range(300)]
    short = [parse_metadata(each) for each in [FULL, *documents]]
    assert short == [parse_metadata(each + COMMENT) for each in [FULL, *documents]]
    assert {each.update_type for each in short} == {"Detectoid", "Driver", "Software"}


def test_a_document_may_come_in_pieces_of_any_size() -> None:
    """A document that turns out not to be short is read from its beginning."""
    padded = FULL.replace("</upd:Files>", f"{' ' * 70_000}</upd:Files>").encode()
    reader = MetadataReader()
    for at in range(0, len(padded), 1000):
        reader.feed(padded[at : at + 1000])
    assert reader.close() == parse_metadata(FULL)


# --- drivers and languages ------------------------------------------------------------------------------

DRV = "http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/WindowsDriver"


def driver(*elements: str, update_type: str = "Driver") -> str:
    """A document whose rules have these elements among their metadata."""
    return (
        f'<u:Update xmlns:u="{UPD}" xmlns:d="{DRV}"><u:UpdateIdentity UpdateID="{GUID}" RevisionNumber="1"/>'
        f'<u:Properties UpdateType="{update_type}"/><u:ApplicabilityRules><u:IsInstalled><d:X/></u:IsInstalled>'
        f"<u:Metadata>{''.join(elements)}</u:Metadata></u:ApplicabilityRules></u:Update>"
    )


def test_a_driver_says_what_it_is_for() -> None:
    """Its hardware ids once each, in lower case; the rest from the first of them."""
    first = (
        '<d:WindowsDriverMetaData HardwareID="PCI\\VEN_8086&amp;DEV_1" DriverVerDate="2026-10-13" Model="AX211"'
        ' DriverVerVersion="23.1.0.4" Class="Net" Provider="Intel" Manufacturer="Intel Corporation">'
        '<d:FeatureScore OperatingSystem="x" FeatureScore="FF"/></d:WindowsDriverMetaData>'
    )
    second = '<d:WindowsDriverMetaData HardwareID="pci\\ven_8086&amp;dev_2" Class="Other"/>'
    assert parse_metadata(driver(first, second, second, "<d:WindowsDriverMetaData/>")).driver == DriverInfo(
        hardware_ids=("pci\\ven_8086&dev_1", "pci\\ven_8086&dev_2"),
        driver_class="Net",
        provider="Intel",
        manufacturer="Intel Corporation",
        model="AX211",
        version="23.1.0.4",
        date="2026-10-13",
    )


def test_only_a_driver_has_a_driver() -> None:
    """A driver whose document does not say has none, and what other updates write there is passed over."""
    assert parse_metadata(driver()).driver is None
    assert parse_metadata(driver("<d:WindowsDriverMetaData/>", update_type="Software")).driver is None


def test_other_languages_are_told_once_each() -> None:
    """All but the one shown, and none that says nothing."""
    texts = "".join(
        f"<u:LocalizedProperties><u:Language>{language}</u:Language>{title}</u:LocalizedProperties>"
        for language, title in (
            ("de", "<u:Title>Eins</u:Title>"),
            ("en", "<u:Title>One</u:Title>"),
            ("DE", "<u:Title>Zwei</u:Title>"),
            ("fr", "<u:Description>Un</u:Description>"),
            ("it", ""),
        )
    )
    document = driver().replace(
        "<u:ApplicabilityRules>",
        f"<u:LocalizedPropertiesCollection>{texts}</u:LocalizedPropertiesCollection><u:ApplicabilityRules>",
    )
    revision = parse_metadata(document)
    assert revision.title == "One"
    assert [(each.language, each.title) for each in revision.other_texts] == [("de", "Eins"), ("fr", None)]
    assert list(parse_metadata(driver()).other_texts) == []
