"""What the documents of a bulk catalogue look like: one revision of each kind, with holes for what varies."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from mdm.lab.documents import NAMESPACES, AtLeastOne, File, Handler, Identity, Revision, Text
from mdm.lab.products import DRIVERS
from mdm.lab.releases import applicability as rule
from mdm.lab.releases.packages import CBS, INSTALL_TEXT, WINDOWS_PUBLISHER, command_line
from mdm.lab.template import CREATED, SHA1, SHA256, SIZE, hole

if TYPE_CHECKING:
    from mdm.lab.documents import EulaFile

__all__ = [
    "CHILDREN",
    "DETECTOID",
    "DIRECT",
    "DRIVER",
    "EPOCH",
    "FIRST",
    "HIDDEN",
    "SECOND",
    "bundle",
    "category",
    "detectoid",
    "driver",
    "hidden",
    "language_pack",
    "leaf",
    "manifest",
    "manifest_rules",
]

FIRST: Final = 200
"""The RevisionNumber of all software at first."""
SECOND: Final = 201
"""That of a bundle's corrected revision."""
DETECTOID: Final = 101
DRIVER: Final = 1

EPOCH: Final = datetime(2012, 1, 3, 18, 0, 0, 123_000, UTC)
"""When the first block was made."""
DIRECT: Final = 3
"""Earlier bundles that a bundle supersedes by name."""
HIDDEN: Final = 2
"""Hidden bundles in a bundle."""
CHILDREN: Final = 9
"""Leaves in a hidden bundle."""

_TRANSLATED: Final = ("de", "en", "es", "fr", "it", "ja")
"""Of the texts of a bundle."""
_OLDER: Final = 12
"""Versions a delta can be applied to."""


def _base(update_type: str, number: int, title: str) -> Revision:
    return Revision(
        update_id=hole("id"),
        revision_number=number,
        update_type=update_type,
        texts=(Text("en", title),),
        created=CREATED,
        publisher_id=WINDOWS_PUBLISHER,
    )


def _payload(update_type: str, number: int, title: str) -> Revision:
    """A base with a file."""
    file = File(hole("file"), SIZE, SHA1, SHA256, CREATED, patching_type="SelfContained")
    return replace(_base(update_type, number, title), max_download_size=SIZE, files=(file,))


def category(update_id: str, kind: str, title: str, parent: str) -> Revision:
    """A product, or a family of products."""
    return Revision(
        update_id=update_id,
        revision_number=100,
        update_type="Category",
        texts=(Text("de", title, title), Text("en", title, title)),
        created=EPOCH,
        publisher_id=WINDOWS_PUBLISHER,
        explicitly_deployable=False,
        is_public=True,
        prerequisites=(AtLeastOne((parent,), is_category=True),),
        is_installed=rule.TRUE,
        handler=Handler(
            "cat",
            "Category",
            f'<cat:CategoryInformation CategoryType="{kind}" ProhibitsSubcategories="'
            f'{"false" if kind == "ProductFamily" else "true"}" ProhibitsUpdates="'
            f'{"true" if kind == "ProductFamily" else "false"}" DisplayOrder="1" xmlns:cat="{NAMESPACES["cat"]}" />',
        ),
    )


def detectoid() -> Revision:
    """A condition that others name as a prerequisite. Holes: id, created, number."""
    return replace(
        _base("Detectoid", DETECTOID, f"Fabrikam component {hole('number')} is installed"),
        is_public=True,
        is_installed=rule.registry_value_exists(rf"SOFTWARE\Fabrikam\Components\{hole('number')}", "Version"),
    )


def bundle(number: int, licence: tuple[str, tuple[EulaFile, ...]] | None, *, expired: bool) -> Revision:
    """What an administrator sees: texts in six languages, a KB, categories, and what it supersedes.

    Holes: id, created, month, title, kb, class, product, ready, superseded0 to 2, hidden0 and 1.
    """
    more = f"https://support.example.com/help/{hole('kb')}"
    german, english = INSTALL_TEXT[1], INSTALL_TEXT[0]
    return replace(
        _base("Software", number, ""),
        texts=tuple(
            Text(
                language,
                f"{hole('month')} Cumulative Update for {hole('title')} ({language}) (KB{hole('kb')})",
                german if language == "de" else english,
                more_info_url=more,
                support_url=more,
            )
            for language in _TRANSLATED
        ),
        max_download_size=0,
        explicitly_deployable=True,
        auto_select=True,
        expired=expired,
        msrc_severity="Important",
        reboot_behavior="CanRequestReboot",
        impact="Normal",
        uninstallable=True,
        support_url=more,
        security_bulletin="MS15-001",
        kb_articles=(hole("kb"),),
        eula_id=licence[0] if licence else None,
        eula_files=licence[1] if licence else (),
        superseded=tuple(hole(f"superseded{each}") for each in range(DIRECT)),
        prerequisites=(
            hole("ready"),
            AtLeastOne((hole("class"),), is_category=True),
            AtLeastOne((hole("product"),), is_category=True),
        ),
        bundled=tuple((Identity(hole(f"hidden{each}"), FIRST),) for each in range(HIDDEN)),
    )


def hidden() -> Revision:
    """A bundle within the bundle. Holes: id, created, title, version, which, class, product, child0 to 8."""
    return replace(
        _base("Software", FIRST, f"{hole('title')} {hole('version')} part {hole('which')}"),
        prerequisites=(AtLeastOne((hole("class"),)), AtLeastOne((hole("product"),))),
        bundled=(tuple(Identity(hole(f"child{each}"), FIRST) for each in range(CHILDREN)),),
    )


def leaf(*, delta: bool) -> Revision:
    """A leaf; a delta says which versions it can be applied to, and is long for it.

    Holes: id, created, title, version, slot, ready, product, and those of a file: file, size, sha1, sha256, modified.
    """
    older = [_version_at_least(f"{hole('version')}{each}") for each in range(1, _OLDER + 1)]
    return replace(
        _payload("Software", FIRST, f"{hole('title')} {hole('version')} component {hole('slot')}"),
        prerequisites=(hole("ready"), AtLeastOne((hole("product"),))),
        is_installed=_version_at_least(hole("version")),
        is_installable=rule.any_of(*older) if delta else None,
        handler=command_line(hole("file"), "/quiet"),
    )


def manifest() -> Revision:
    """A leaf with a package manifest. Holes: those of a leaf without slot, and manifest."""
    return replace(
        _payload("Software", FIRST, f"{hole('title')} {hole('version')} package"),
        prerequisites=(hole("ready"), AtLeastOne((hole("product"),))),
        is_installed=_version_at_least(hole("version")),
        rule_metadata=hole("manifest"),
        handler=CBS,
    )


def language_pack(language: str) -> Revision:
    """An update for one language, which needs the bundle.

    Holes: id, created, title, version, kb, class, product, bundle, and those of a file.
    """
    return replace(
        _payload("Software", FIRST, ""),
        texts=tuple(
            Text(each, f"{hole('title')} Language Pack {hole('version')} [{language}] (KB{hole('kb')})", each)
            for each in ("en", language)
        ),
        explicitly_deployable=True,
        auto_select=False,
        reboot_behavior="NeverReboots",
        impact="Normal",
        kb_articles=(hole("kb"),),
        languages=(language,),
        prerequisites=(
            hole("bundle"),
            AtLeastOne((hole("class"),), is_category=True),
            AtLeastOne((hole("product"),), is_category=True),
        ),
        is_installed=_version_at_least(hole("version")),
        handler=command_line(hole("file"), "/quiet"),
    )


def driver(product: str) -> Revision:
    """A driver, all in one document. Holes: id, created, version, device, date, and those of a file."""
    return replace(
        _payload("Driver", DRIVER, f"Fabrikam - System - {hole('version')}"),
        explicitly_deployable=True,
        auto_select=True,
        reboot_behavior="CanRequestReboot",
        impact="Normal",
        prerequisites=(AtLeastOne((DRIVERS,), is_category=True), AtLeastOne((product,), is_category=True)),
        is_installed=rule.driver("Installed"),
        is_superseded=rule.driver("Superseded"),
        is_installable=rule.driver("Installable"),
        rule_metadata=rule.driver_metadata(
            rf"PCI\VEN_F4B1&DEV_{hole('device')}",
            provider="Fabrikam",
            kind="System",
            model=f"Fabrikam Device {hole('device')}",
            version=hole("version"),
            date=hole("date"),
        ),
        handler=Handler("drv", "WindowsDriver", ""),
    )


def _version_at_least(version: str) -> str:
    return rule.all_of(
        *(
            rule.file_version_at_least(name, version, r"SOFTWARE\Fabrikam\Setup", "InstallLocation")
            for name in ("core.dll", "engine.dll")
        )
    )


def manifest_rules(components: int, version: str) -> str:
    """The package manifest with so many components, as XML."""
    return rule.cbs_package(
        "Fabrikam-Update-Package",
        version,
        (f"Fabrikam-Component-{number:06d}-Package" for number in range(components)),
    )
