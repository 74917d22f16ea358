"""Category and detectoid documents of the generated catalogue: what GetRevisionIdList answers for GetConfig=true."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mdm.lab.documents import NAMESPACES, AtLeastOne, Handler, Revision, Text
from mdm.lab.products import (
    CLASSIFICATIONS,
    COMPANY,
    DEFENDER,
    LINES,
    OFFICE,
    OFFICE_FAMILY,
    OOBE_ZDP,
    SERVICING_DRIVERS,
    WINDOWS_10,
    WINDOWS_11,
    WINDOWS_FAMILY,
)
from mdm.lab.releases import applicability as rule

if TYPE_CHECKING:
    from mdm.lab.dice import Dice

__all__ = ["DETECTOIDS", "configuration", "detectoid_id"]

_PUBLISHER = "42f20e12-2856-447d-a8b2-68f06c2e9b45"
_LANGUAGES = [
    "ar",
    "cs",
    "da",
    "de",
    "el",
    "en",
    "es",
    "fi",
    "fr",
    "he",
    "hu",
    "it",
    "ja",
    "ko",
    "nl",
    "no",
    "pl",
    "pt",
    "pt-br",
    "ru",
    "sv",
    "tr",
    "zh-cn",
    "zh-tw",
]


@dataclass(frozen=True, slots=True)
class _Category:
    update_id: str
    type: str | None
    """None: the document has no CategoryType at all, as more than half of the real ones."""
    titles: tuple[str, str]
    parent: str | None
    revision_number: int
    created: datetime
    old: bool = False
    """Written in the first years: upper-case UpdateID, many languages, a revision 1 still listed."""
    excluded: bool = False


_2004 = datetime(2004, 5, 15, 5, 50, 1, 611000, UTC)
_2015 = datetime(2015, 8, 25, 20, 9, 50, 2000, UTC)
_2021 = datetime(2021, 9, 16, 18, 0, 12, 430000, UTC)

_CATEGORIES = (
    _Category(COMPANY, "Company", ("Microsoft", "Microsoft"), None, 101, _2004, old=True),
    _Category(WINDOWS_FAMILY, "ProductFamily", ("Windows", "Windows"), COMPANY, 100, _2004, old=True),
    # an old document naming its parent in upper case too
    _Category(OFFICE_FAMILY, "ProductFamily", ("Office", "Office"), COMPANY.upper(), 100, _2004, old=True),
    _Category(WINDOWS_11, "Product", ("Windows 11", "Windows 11"), WINDOWS_FAMILY, 201, _2021),
    _Category(
        WINDOWS_10,
        "Product",
        ("Windows 10, version 1903 and later", "Windows 10, Version 1903 und höher"),
        WINDOWS_FAMILY,
        200,
        _2021,
    ),
    _Category(
        DEFENDER,
        "Product",
        ("Microsoft Defender Antivirus", "Microsoft Defender Antivirus"),
        WINDOWS_FAMILY,
        203,
        _2015,
    ),
    _Category(
        SERVICING_DRIVERS,
        "Product",
        (
            "Windows 11 Client, version 22H2 and later, Servicing Drivers",
            "Windows 11 Client, Version 22H2 und höher, Wartungstreiber",
        ),
        WINDOWS_FAMILY,
        200,
        _2021,
    ),
    _Category(OOBE_ZDP, "Product", ("OOBE ZDP", "OOBE ZDP"), WINDOWS_FAMILY, 202, _2015, excluded=True),
    _Category(
        OFFICE,
        "Product",
        ("Microsoft 365 Apps/Office 2019/Office LTSC", "Microsoft 365 Apps/Office 2019/Office LTSC"),
        OFFICE_FAMILY,
        200,
        _2021,
    ),
)

DETECTOIDS = {line.key: f"{line.title} is installed" for line in LINES} | {
    "x64": "x64-based systems",
    "arm64": "ARM64-based systems",
    "defender": "Microsoft Defender Antivirus is installed and enabled",
    "office": "Click-to-Run Office is managed by an update server",
}
"""Key -> English title of the conditions that software documents name as prerequisites."""


def detectoid_id(dice: Dice, key: str) -> str:
    """The UpdateID of a detectoid."""
    return dice.guid(f"detectoid/{key}")


def configuration(dice: Dice) -> list[Revision]:
    """All categories, classifications and detectoids, several of them in more than one revision."""
    revisions = [revision for category in _CATEGORIES for revision in _category(category)]
    for order, (update_id, titles) in enumerate(CLASSIFICATIONS.items()):
        classification = _Category(
            update_id, "UpdateClassification", titles, None, 100, _2004, old=order == 0
        )
        revisions += (_classification(classification, order, number) for number in (100, 1))
    untyped = _Category(
        dice.guid("category/untyped"),
        None,
        ("Windows 11 Client Features On Demand", "Windows 11-Client Features bei Bedarf"),
        WINDOWS_FAMILY,
        200,
        _2021,
    )
    revisions += _category(untyped)
    revisions += (_detectoid(dice, key, title) for key, title in DETECTOIDS.items())
    return revisions


def _category(category: _Category) -> list[Revision]:
    kind = f' CategoryType="{category.type}"' if category.type else ""
    holds_categories = category.type in ("Company", "ProductFamily")
    prohibits = ("false", "true") if holds_categories else ("true", "false")
    excluded = ' ExcludedByDefault="true"' if category.excluded else ""
    revision = replace(
        _base(category),
        handler=_information(
            f'{kind} ProhibitsSubcategories="{prohibits[0]}" ProhibitsUpdates="{prohibits[1]}"{excluded}'
            ' DisplayOrder="1"'
        ),
        prerequisites=(AtLeastOne((category.parent,), is_category=True),) if category.parent else (),
    )
    return [revision, replace(revision, revision_number=1)] if category.old else [revision]


def _classification(category: _Category, order: int, revision_number: int) -> Revision:
    return replace(
        _base(category),
        revision_number=revision_number,
        handler=_information(
            f' CategoryType="{category.type}" ProhibitsSubcategories="true" ProhibitsUpdates="false" '
            f'DisplayOrder="{order + 1}"'
        ),
    )


def _base(category: _Category) -> Revision:
    english, german = category.titles
    languages = _LANGUAGES if category.old else ["de", "en"]
    texts = (Text(code, german if code == "de" else english, english) for code in languages)
    return Revision(
        update_id=category.update_id,
        revision_number=category.revision_number,
        update_type="Category",
        texts=tuple(texts),
        created=category.created,
        publisher_id=_PUBLISHER,
        upper_case_id=category.old,
        explicitly_deployable=None if category.old else False,
        is_public=True,
        is_installed=rule.TRUE,
    )


def _information(attributes: str) -> Handler:
    return Handler(
        "cat", "Category", f'<cat:CategoryInformation{attributes} xmlns:cat="{NAMESPACES["cat"]}" />'
    )


def _detectoid(dice: Dice, key: str, title: str) -> Revision:
    builds = {line.key: line.build for line in LINES}
    if key in builds:
        installed = rule.all_of(
            rule.windows_build("GreaterThanOrEqualTo", builds[key]),
            rule.windows_build("LessThan", builds[key] + 1),
        )
    else:
        installed = rule.registry_value_exists(rf"SOFTWARE\Microsoft\Detect\{key}", "Version")
    return Revision(
        update_id=detectoid_id(dice, key),
        revision_number=101,
        update_type="Detectoid",
        texts=(Text("en", title),),
        created=_2021,
        publisher_id=_PUBLISHER,
        is_public=True,
        is_installed=installed,
    )
