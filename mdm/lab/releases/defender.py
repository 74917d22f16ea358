"""Defender's definition and platform updates: many, three levels deep, most of them soon expired."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from mdm.lab.documents import Reach
from mdm.lab.products import ALL_BUILDS, DEFENDER, DEFINITIONS, UPDATES
from mdm.lab.releases import applicability as rule
from mdm.lab.releases.categories import detectoid_id
from mdm.lab.releases.numbering import earlier_bundles, month_index
from mdm.lab.releases.packages import DEFENDER_PUBLISHER, MIB, Release, command_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mdm.lab.dice import Dice
    from mdm.lab.documents import Revision

__all__ = ["defender_updates"]

_VERSIONS = 5
_EXPIRED = 2
_ARCHITECTURES = ("amd64fre", "x86fre", "arm64fre")
_SIGNATURES = r"SOFTWARE\Microsoft\Windows Defender\Signature Updates"
_TEXT = (
    (
        "Install this update to revise the files that are used to detect viruses, spyware, and other potentially "
        "unwanted software. Once you have installed this item, it cannot be removed."
    ),
    (
        "Installieren Sie dieses Update, um die Dateien zu aktualisieren, mit denen Viren, Spyware und andere "
        "möglicherweise unerwünschte Software erkannt werden. Dieses Element kann nicht entfernt werden."
    ),
)


def defender_updates(dice: Dice, days: Sequence[datetime], now: datetime) -> list[Revision]:
    """Two definition updates a day up to `now`, and a platform update for each of the last three months."""
    return [*_definitions(dice, now), *_platform(dice, days[-3:])]


def _definitions(dice: Dice, now: datetime) -> list[Revision]:
    """Bundle -> hidden bundles -> leaves. The versions of a month share one engine; the oldest are expired."""
    half_day = now.replace(hour=now.hour // 12 * 12, minute=0, second=0, microsecond=0)
    times = [half_day - timedelta(hours=12 * back) for back in range(_VERSIONS)][::-1]
    engines = {month: _engine(dice, month) for month in (moment.replace(day=1, hour=0) for moment in times)}
    revisions = [revision for engine in engines.values() for revision in engine]
    for position, moment in enumerate(times):
        version = _version(moment)
        engine = engines[moment.replace(day=1, hour=0)][-1]
        older = [_version(moment - timedelta(hours=12 * back)) for back in range(1, 13)]
        release = _release(dice, f"definitions/{version}", moment)
        full = [_signature_leaf(release, arch, version, ()) for arch in _ARCHITECTURES]
        deltas = [_signature_leaf(release, arch, version, older) for arch in _ARCHITECTURES]
        hidden = release.hidden(
            "signatures", f"HIDDEN: Defender Signatures {version}", [leaf.identity for leaf in full]
        )
        title = f"Microsoft Defender Antivirus - KB2267602 (Version {version}) - Current Channel (Broad)"
        bundle = replace(
            release.bundle(
                (f"Security Intelligence Update for {title}", f"Security Intelligence-Update für {title}"),
                _TEXT,
                (engine.identity,),
                (hidden.identity,),
                [leaf.identity for leaf in deltas],
                kb="2267602",
            ),
            superseded=tuple(dice.guid(f"definitions/{earlier}/bundle") for earlier in older[:2]),
            reach=Reach(ALL_BUILDS),
        )
        if position < _EXPIRED:
            bundle = replace(bundle, revision_number=201, expired=True)
        revisions += [*full, *deltas, hidden, bundle]
    return revisions


def _engine(dice: Dice, created: datetime) -> list[Revision]:
    release = _release(dice, f"engine/{created:%Y-%m}", created)
    version = f"1.1.{created:%y}{created:%m}0.2001"
    leaves = [
        release.leaf(
            f"leaf-{arch}",
            f"Defender MpSigStub {version} for {arch}",
            files=[
                release.file("MpSigStub.exe" if arch == "amd64fre" else f"MpSigStub_{arch}.exe", MIB, 2 * MIB)
            ],
            handler=command_line("MpSigStub.exe", "WD /q"),
            is_installed=rule.file_version_at_least(
                "mpengine.dll", version, _SIGNATURES, "SignatureLocation"
            ),
        )
        for arch in _ARCHITECTURES
    ]
    hidden = release.hidden(
        "hidden", f"HIDDEN: Defender MpSigStub {version} for EngineBroad", [x.identity for x in leaves]
    )
    return [*leaves, hidden]


def _signature_leaf(release: Release, arch: str, version: str, older: Sequence[str]) -> Revision:
    """A leaf with all signatures or, given the older versions it applies to, a delta: a long document."""
    program, kind = ("AM_Delta.exe", "Full Deltas") if older else ("AM_Full.exe", "Full")
    part = f"{'delta' if older else 'full'}-{arch}"
    return release.leaf(
        part,
        f"{kind} {version} for Defender {arch} [Ring0, Ring1, Broad]",
        # the name is the same in every leaf: only the digest tells the files apart
        files=[release.file(program, 8 * MIB, 200 * MIB, key=part)],
        handler=command_line(program, "WD /q"),
        is_installed=_signatures_at_least(version),
        is_installable=rule.any_of(*map(_signatures_at_least, older)) if older else None,
    )


def _signatures_at_least(version: str) -> str:
    names = ("mpasdlta.vdm", "mpavdlta.vdm")
    return rule.all_of(
        *(rule.file_version_at_least(name, version, _SIGNATURES, "SignatureLocation") for name in names)
    )


def _platform(dice: Dice, days: Sequence[datetime]) -> list[Revision]:
    revisions: list[Revision] = []
    for day in days:
        release = replace(_release(dice, f"platform/{day:%Y-%m}", day), classification=UPDATES)
        version = f"4.18.{day:%y}{day:%m}0.5"
        leaf = release.leaf(
            "leaf",
            f"Defender platform {version} amd64fre",
            files=[release.file("UpdatePlatform.amd64fre.exe", 11 * MIB, 14 * MIB)],
            handler=command_line("UpdatePlatform.amd64fre.exe", ""),
            is_installed=rule.file_version_at_least(
                "MsMpEng.exe", version, r"SOFTWARE\Microsoft\Windows Defender", "InstallLocation"
            ),
        )
        title = f"Microsoft Defender Antivirus antimalware platform - KB4052623 (Version {version})"
        bundle = replace(
            release.bundle(
                (f"Update for {title}", f"Update für {title}"), _TEXT, (leaf.identity,), kb="4052623"
            ),
            superseded=earlier_bundles(dice, "platform", day, 2),
            reach=Reach(ALL_BUILDS),
        )
        revisions += [leaf, bundle]
    return revisions


def _release(dice: Dice, key: str, created: datetime) -> Release:
    return Release(
        dice,
        key,
        created,
        DEFINITIONS,
        (DEFENDER,),
        publisher_id=DEFENDER_PUBLISHER,
        requires=(detectoid_id(dice, "defender"),),
    )


def _version(moment: datetime) -> str:
    """Grows with time within a month, and from month to month by its second number."""
    return f"1.{415 + 2 * month_index(moment)}.{moment.day * 20 + moment.hour // 2}.0"
