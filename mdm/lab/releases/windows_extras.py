"""Updates of Windows beside the cumulative ones: .NET, MSRT, feature updates and some that stand alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mdm.lab.documents import Reach
from mdm.lab.products import (
    ALL_BUILDS,
    CRITICAL,
    FEATURE_PACKS,
    LINES,
    ROLLUPS,
    SECURITY,
    UPDATES,
    UPGRADES,
    WINDOWS_10,
    WINDOWS_11,
    WINDOWS_11_BUILDS,
)
from mdm.lab.releases import applicability as rule
from mdm.lab.releases.categories import detectoid_id
from mdm.lab.releases.licences import licence_files
from mdm.lab.releases.numbering import earlier_bundles, kb_number, month_index
from mdm.lab.releases.packages import (
    CBS,
    INSTALL_TEXT,
    MIB,
    OS_INSTALLER,
    Release,
    command_line,
    windows_titles,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mdm.lab.dice import Dice
    from mdm.lab.documents import Revision
    from mdm.lab.products import WindowsLine

__all__ = ["windows_extras"]

_25H2, _24H2, _23H2, _22H2 = LINES
_FIXED_DAY = datetime(2025, 10, 14, 18, tzinfo=UTC)
"""Publication of what is not monthly."""
_NDP = r"SOFTWARE\Microsoft\NET Framework Setup\NDP\v4\Full"


def windows_extras(dice: Dice, days: Sequence[datetime]) -> list[Revision]:
    """All of them for the Patch Tuesdays in `days`, oldest first."""
    return [
        *_dotnet(dice, _24H2, "Windows 11, version 24H2", frozenset({_24H2.build, _25H2.build}), days[-6:]),
        *_dotnet(dice, _22H2, "Windows 10 Version 22H2", frozenset({_22H2.build}), days[-6:]),
        *_malicious_software_removal(dice, days[-4:]),
        *_feature_updates(dice),
        *_security_platform(dice, days),
        *_critical_fix(dice, days),
        *_media_feature_pack(dice),
    ]


def _dotnet(
    dice: Dice, line: WindowsLine, system: str, builds: frozenset[int], days: Sequence[datetime]
) -> list[Revision]:
    """Every second month is a security update, the others are rollups; one leaf per processor architecture."""
    revisions: list[Revision] = []
    for day in days:
        security = month_index(day) % 2 == 0
        classification = SECURITY if security else ROLLUPS
        family = f"dotnet/{line.key}"
        release = Release(dice, f"{family}/{day:%Y-%m}", day, classification, (line.product,))
        kb = kb_number(dice, f"dotnet/{line.branch}", day)
        version = f"4.8.{9_200 + month_index(day)}.0"
        leaves = [
            release.leaf(
                f"leaf-{architecture}",
                f"KB{kb} .NET Framework 4.8.1 {architecture}",
                files=[
                    release.file(f"ndp481-kb{kb}-{architecture}.cab", 40 * MIB, 90 * MIB, "SelfContained")
                ],
                handler=CBS,
                is_installed=rule.all_of(
                    rule.registry_value_exists(_NDP, "InstallPath"),
                    rule.file_version_at_least("clr.dll", version, _NDP, "InstallPath"),
                ),
            )
            for architecture in ("x64", "arm64")
        ]
        product = f".NET Framework 3.5 and 4.8.1 for {system} for x64"
        bundle = release.bundle(
            (
                f"{day:%Y-%m} Cumulative Update for {product} (KB{kb})",
                (
                    f"{day:%Y-%m} Kumulatives Update für {product.replace(' and ', ' und ').replace(' for ', ' für ')} "
                    f"(KB{kb})"
                ),
            ),
            INSTALL_TEXT,
            [leaf.identity for leaf in leaves],
            kb=kb,
            reboot_behavior="CanRequestReboot",
        )
        revisions += [
            *leaves,
            replace(
                bundle,
                superseded=earlier_bundles(dice, family, day, 3),
                msrc_severity="Important" if security else None,
                uninstallable=True,
                reach=Reach(builds),
            ),
        ]
    return revisions


def _malicious_software_removal(dice: Dice, days: Sequence[datetime]) -> list[Revision]:
    """Monthly, always the same KB and the same licence, for both Windows products."""
    revisions: list[Revision] = []
    licence = licence_files("Windows Malicious Software Removal Tool", _FIXED_DAY)
    for day in days:
        release = Release(dice, f"msrt/{day:%Y-%m}", day, ROLLUPS, (WINDOWS_11, WINDOWS_10))
        version = f"5.{128 + month_index(day)}"
        leaf = release.leaf(
            "leaf",
            f"Windows-KB890830-x64-V{version}",
            files=[release.file(f"Windows-KB890830-x64-V{version}.exe", 60 * MIB, 80 * MIB)],
            handler=command_line(f"Windows-KB890830-x64-V{version}.exe", "/Q /W"),
            is_installed=rule.registry_value_exists(r"SOFTWARE\Microsoft\RemovalTools\MRT", f"V{version}"),
        )
        bundle = release.bundle(
            (
                f"Windows Malicious Software Removal Tool x64 - v{version} (KB890830)",
                f"Windows-Tool zum Entfernen bösartiger Software x64 - v{version} (KB890830)",
            ),
            (
                (
                    "After the download, this tool runs one time to check your computer for infection by specific, "
                    "prevalent malicious software and helps remove any infection that is found."
                ),
                (
                    "Nach dem Download wird dieses Tool einmal ausgeführt, um den Computer auf bestimmte, weit "
                    "verbreitete bösartige Software zu prüfen und gefundene Infektionen zu entfernen."
                ),
            ),
            (leaf.identity,),
            kb="890830",
        )
        revisions += [
            leaf,
            replace(
                bundle,
                superseded=earlier_bundles(dice, "msrt", day, 2),
                eula_id=dice.guid("eula/msrt"),
                eula_files=licence,
                reach=Reach(ALL_BUILDS),
            ),
        ]
    return revisions


def _feature_updates(dice: Dice) -> list[Revision]:
    """Upgrades to the next Windows, all under the one Windows licence; the newer supersedes the older."""
    revisions: list[Revision] = []
    licence = licence_files("WINDOWS 11", _FIXED_DAY, country_text=True)
    offers = (
        ("24h2", _24H2, "Feature update to Windows 11, version 24H2", {_23H2.build}, ()),
        ("25h2", _25H2, "Feature update to Windows 11, version 25H2", {_24H2.build, _23H2.build}, ("24h2",)),
        ("from-10", _25H2, "Upgrade to Windows 11, version 25H2", {_22H2.build}, ()),
    )
    for key, target, title, builds, superseded in offers:
        release = Release(
            dice, f"feature/{key}", _FIXED_DAY, UPGRADES, (WINDOWS_11,), requires=(detectoid_id(dice, "x64"),)
        )
        stem = f"{target.build}.1.amd64fre_client"
        leaf = release.leaf(
            "leaf",
            f"Feature on {stem}",
            files=[
                *(
                    release.file(f"{stem}_{language}.esd", 3_000 * MIB, 4_200 * MIB)
                    for language in ("en-us", "de-de")
                ),
                *(
                    release.file(f"Microsoft-Windows-Client-Part{number:02d}.cab", MIB, 300 * MIB)
                    for number in range(12)
                ),
            ],
            handler=OS_INSTALLER,
            is_installed=rule.windows_build("GreaterThanOrEqualTo", target.build),
            rule_metadata=rule.cbs_package(
                "Microsoft-Windows-Client-Upgrade",
                f"10.0.{target.build}.1",
                (f"Microsoft-Windows-Feature{number:04d}-Package" for number in range(600)),
            ),
        )
        bundle = release.bundle(
            (title, title.replace("Feature update to", "Funktionsupdate für").replace("version", "Version")),
            (
                "Install the latest version of Windows.",
                "Installieren Sie die neueste Version von Windows.",
            ),
            (leaf.identity,),
            reboot_behavior="AlwaysRequiresReboot",
        )
        revisions += [
            replace(leaf, product_name="Client.OS.rs2.amd64", release_version=f"10.0.{target.build}.1"),
            replace(
                bundle,
                superseded=tuple(dice.guid(f"feature/{name}/bundle") for name in superseded),
                eula_id=dice.guid("eula/windows-11"),
                eula_files=licence,
                reach=Reach(frozenset(builds)),
            ),
        ]
    return revisions


def _security_platform(dice: Dice, days: Sequence[datetime]) -> list[Revision]:
    """Every four months a version that supersedes the one before; two months later one that was expired.

    So the newest version on offer is at times superseded, but only by an expired one, and stays on offer.
    """
    revisions: list[Revision] = []
    for day in days:
        if month_index(day) % 2:
            continue
        expired = month_index(day) % 4 == 2  # noqa: PLR2004 - the month between two good versions
        release = Release(dice, f"security-platform/{day:%Y-%m}", day, UPDATES, (WINDOWS_11,))
        version = f"10.0.{27_000 + 103 * month_index(day)}.1001"
        leaf = release.leaf(
            "leaf",
            f"securityhealthsetup_{version}",
            files=[release.file("securityhealthsetup.exe", 20 * MIB, 22 * MIB)],
            handler=command_line("securityhealthsetup.exe", "/quiet"),
            is_installed=rule.file_version_at_least(
                "SecurityHealthService.exe",
                version,
                r"SOFTWARE\Microsoft\Windows Security Health",
                "InstallLocation",
            ),
        )
        title = f"Windows Security platform - KB5007651 (Version {version})"
        bundle = replace(
            release.bundle(
                (f"Update for {title}", f"Update für {title}"), INSTALL_TEXT, (leaf.identity,), kb="5007651"
            ),
            superseded=earlier_bundles(dice, "security-platform", day, 2 if expired else 4)[:1],
            reach=Reach(WINDOWS_11_BUILDS),
        )
        revisions += [leaf, replace(bundle, revision_number=201, expired=True) if expired else bundle]
    return revisions


def _critical_fix(dice: Dice, days: Sequence[datetime]) -> list[Revision]:
    """One small critical update; its three revisions are in two hundreds groups, as real ones are."""
    day = next(day for day in reversed(days[:-1]) if month_index(day) % 6 == 3)  # noqa: PLR2004 - one of any six
    release = Release(
        dice,
        f"critical/{day:%Y-%m}",
        day.replace(hour=20),
        CRITICAL,
        (WINDOWS_11,),
        requires=(detectoid_id(dice, "24H2"),),
    )
    kb = kb_number(dice, "critical", day)
    leaf = release.leaf(
        "leaf",
        f"Windows11.0-KB{kb}-x64",
        files=[release.file(f"Windows11.0-KB{kb}-x64.cab", MIB, 3 * MIB, "SelfContained")],
        handler=CBS,
        is_installed=rule.any_of(
            rule.registry_value_exists(r"SOFTWARE\Microsoft\Updates\Critical", f"KB{kb}")
        ),
    )
    bundle = replace(
        release.bundle(
            windows_titles(day, "Critical Update", _24H2, kb),
            INSTALL_TEXT,
            (leaf.identity,),
            kb=kb,
            reboot_behavior="CanRequestReboot",
        ),
        msrc_severity="Critical",
        reach=Reach(frozenset({_24H2.build})),
    )
    return [leaf, *(replace(bundle, revision_number=number) for number in (100, 101, 200))]


def _media_feature_pack(dice: Dice) -> list[Revision]:
    """A feature pack that none of the virtual devices needs."""
    release = Release(dice, "media-feature-pack", _FIXED_DAY, FEATURE_PACKS, (WINDOWS_11,))
    kb = kb_number(dice, "media", _FIXED_DAY)
    leaf = release.leaf(
        "leaf",
        f"MediaFeaturePack-KB{kb}",
        files=[release.file(f"Microsoft-Windows-MediaFeaturePack-KB{kb}.cab", 70 * MIB, 90 * MIB)],
        handler=CBS,
        is_installed=rule.registry_value_exists(r"SOFTWARE\Microsoft\MediaPlayer", "Installed"),
    )
    title = f"Media Feature Pack for Windows 11 N, version 24H2 (KB{kb})"
    bundle = release.bundle(
        (title, title.replace(" for ", " für ").replace("version", "Version")),
        INSTALL_TEXT,
        (leaf.identity,),
        kb=kb,
    )
    return [leaf, bundle]
