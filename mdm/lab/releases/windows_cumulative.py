"""Monthly cumulative updates of each Windows version, one withdrawn, and the servicing stack one of them needs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mdm.lab.documents import Reach
from mdm.lab.products import LINES, SECURITY, WINDOWS_11
from mdm.lab.releases import applicability as rule
from mdm.lab.releases.categories import detectoid_id
from mdm.lab.releases.numbering import build_revision, earlier_bundles, kb_number, month_index
from mdm.lab.releases.packages import CBS, INSTALL_TEXT, MIB, OS_INSTALLER, Release, windows_titles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mdm.lab.dice import Dice
    from mdm.lab.documents import Revision
    from mdm.lab.products import WindowsLine

__all__ = ["cumulative_updates"]

_CORRECTED = "24H2"
_WITHDRAWN = "23H2"
_NEEDS_STACK = "22H2"
_STACK_DAY = datetime(2025, 3, 11, 18, tzinfo=UTC)
_SEVERITIES = ("Critical", "Important", "Important", "Moderate", "Low")
_UNINSTALL_NOTES = "This update cannot be removed by itself once its servicing stack is installed."


def cumulative_updates(dice: Dice, days: Sequence[datetime]) -> list[Revision]:
    """One cumulative update per version and Patch Tuesday, oldest first, with its leaf."""
    revisions = _servicing_stack(dice)
    for line in LINES:
        for day in days:
            leaf, bundle = _cumulative(dice, line, day)
            revisions += [leaf, bundle]
            if line.key == _CORRECTED and month_index(day) % 2 == 0:
                revisions.append(_corrected(bundle))
            # about once in the window, but not yet in the month that is running
            if line.key == _WITHDRAWN and month_index(day) % 6 == 3 and day != days[-1]:  # noqa: PLR2004
                revisions += _withdrawn(dice, line, day)
    return revisions


def _cumulative(dice: Dice, line: WindowsLine, day: datetime) -> tuple[Revision, Revision]:
    release = _release(dice, line, f"lcu/{line.key}/{day:%Y-%m}", day)
    kb, ubr = kb_number(dice, line.branch, day), build_revision(dice, line, day)
    leaf = _leaf(release, line, kb, ubr)
    # The first ones of the catalogue name updates it no longer has. Windows 10 names the direct predecessor
    # only: whoever asks what is superseded has to compute the closure.
    earlier = earlier_bundles(dice, f"lcu/{line.key}", day, 5 if line.product == WINDOWS_11 else 1)
    bundle = release.bundle(
        windows_titles(day, "Cumulative Update", line, kb),
        INSTALL_TEXT,
        (leaf.identity,),
        kb=kb,
        reboot_behavior="AlwaysRequiresReboot",
    )
    return leaf, replace(
        bundle,
        superseded=earlier,
        msrc_severity=_SEVERITIES[dice.number(f"severity/{release.key}", 0, len(_SEVERITIES) - 1)],
        uninstallable=True,
        reach=Reach(frozenset({line.build}), ubr),
    )


def _corrected(bundle: Revision) -> Revision:
    """The next revision: the texts change, the payload and its children do not."""
    texts = tuple(replace(text, uninstall_notes=_UNINSTALL_NOTES) for text in bundle.texts)
    return replace(bundle, revision_number=bundle.revision_number + 1, texts=texts)


def _withdrawn(dice: Dice, line: WindowsLine, day: datetime) -> list[Revision]:
    """An out-of-band update that superseded a month's update and was expired: both revisions are listed."""
    published = day.replace(day=day.day + 6, hour=21)
    release = _release(dice, line, f"oob/{line.key}/{day:%Y-%m}", published)
    kb, ubr = kb_number(dice, "out-of-band", day), build_revision(dice, line, day) + 20
    leaf = _leaf(release, line, kb, ubr)
    bundle = replace(
        release.bundle(
            windows_titles(day, "Cumulative Update", line, kb),
            INSTALL_TEXT,
            (leaf.identity,),
            kb=kb,
            reboot_behavior="AlwaysRequiresReboot",
        ),
        superseded=(dice.guid(f"lcu/{line.key}/{day:%Y-%m}/bundle"),),
        uninstallable=True,
        reach=Reach(frozenset({line.build}), ubr),
    )
    return [leaf, bundle, replace(bundle, revision_number=201, expired=True)]


def _servicing_stack(dice: Dice) -> list[Revision]:
    """A prerequisite that is software, not a detectoid: whoever lists the updates must list it too."""
    day = _STACK_DAY
    line = next(line for line in LINES if line.key == _NEEDS_STACK)
    release = replace(_release(dice, line, "ssu", day), requires=(detectoid_id(dice, line.key),))
    kb, ubr = kb_number(dice, "stack", day), build_revision(dice, line, day)
    leaf = release.leaf(
        "leaf",
        f"Windows10.0-KB{kb}-x64",
        files=[release.file(f"Windows10.0-KB{kb}-x64.cab", 14 * MIB, 16 * MIB, "SelfContained")],
        handler=CBS,
        is_installed=rule.file_version_at_least(
            "wcp.dll",
            f"10.0.{line.build}.{ubr}",
            r"SOFTWARE\Microsoft\Windows\CurrentVersion\CBS",
            "StackPath",
        ),
    )
    bundle = release.bundle(
        windows_titles(day, "Servicing Stack Update", line, kb), INSTALL_TEXT, (leaf.identity,), kb=kb
    )
    reach = Reach(frozenset({line.build}), ubr)
    return [leaf, replace(bundle, msrc_severity="Critical", reach=reach)]


def _release(dice: Dice, line: WindowsLine, key: str, created: datetime) -> Release:
    requires = [detectoid_id(dice, line.key), detectoid_id(dice, "x64")]
    if line.key == _NEEDS_STACK:
        requires.append(dice.guid("ssu/bundle"))
    return Release(dice, key, created, SECURITY, (line.product,), requires=tuple(requires))


def _leaf(release: Release, line: WindowsLine, kb: str, ubr: int) -> Revision:
    """Windows 11 installs through the OS installer from several files, Windows 10 through CBS from cabinets."""
    version = f"10.0.{line.build}.{ubr}"
    modern = line.product == WINDOWS_11
    stem = f"Windows{'11' if modern else '10'}.0-KB{kb}-x64"
    if modern:
        files = [
            release.file(f"{stem}.wim", 600 * MIB, 900 * MIB, "SelfContained"),
            release.file(f"{stem}.psf", 2_000 * MIB, 4_000 * MIB, "Express"),
            release.file(f"SSU-{line.build}.{ubr}-x64.cab", 14 * MIB, 20 * MIB, "SelfContained"),
            release.file("DesktopDeployment.cab", 8 * MIB, 9 * MIB, "SelfContained"),
        ]
    else:
        files = [
            release.file(f"{stem}.cab", 500 * MIB, 700 * MIB, "SelfContained"),
            release.file(f"{stem}-express.cab", 9 * MIB, 20 * MIB, "Express"),
        ]
    components = release.dice.number(f"{release.key}/components", 40, 120)
    leaf = release.leaf(
        "leaf",
        f"{stem} {version}",
        files=files,
        handler=OS_INSTALLER if modern else CBS,
        is_installed=rule.build_revision_at_least(ubr),
        is_installable=rule.all_of(
            rule.windows_build("EqualTo", line.build), rule.negate(rule.build_revision_at_least(ubr))
        ),
        rule_metadata=rule.cbs_package(
            "Package_for_RollupFix",
            f"{line.build}.{ubr}.1.18",
            (f"Microsoft-Windows-Component{number:04d}-Package" for number in range(components)),
        ),
    )
    return replace(leaf, product_name="Client.OS.rs2.amd64", release_version=version) if modern else leaf
