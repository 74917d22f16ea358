"""Updates of Office: two monthly channels and a perpetual edition."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mdm.lab.documents import Reach
from mdm.lab.products import ALL_BUILDS, OFFICE, SECURITY, UPDATES
from mdm.lab.releases import applicability as rule
from mdm.lab.releases.categories import detectoid_id
from mdm.lab.releases.numbering import earlier_bundles, month_index, patch_tuesdays
from mdm.lab.releases.packages import MIB, Release, command_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mdm.lab.dice import Dice
    from mdm.lab.documents import Revision

__all__ = ["office_updates"]

_OFFICE_TEXT = (
    "Microsoft 365 Apps Update for x64 based edition. It contains the newest security and quality fixes.",
    "Microsoft 365 Apps-Update für x64-basierte Edition. Es enthält die neuesten Sicherheits- und Qualitätsfixes.",
)


def office_updates(dice: Dice, days: Sequence[datetime]) -> list[Revision]:
    """Three months of two channels and one perpetual update; the devices are on Current Channel."""
    current = Reach(ALL_BUILDS)
    return [
        *_channel(dice, "Current Channel", days[-3:], SECURITY, current),
        *_channel(dice, "Monthly Enterprise Channel", days[-3:], SECURITY, None),
        *_channel(dice, "Perpetual Enterprise Client", days[-1:], UPDATES, None),
    ]


def _channel(
    dice: Dice, channel: str, days: Sequence[datetime], classification: str, reach: Reach | None
) -> list[Revision]:
    revisions: list[Revision] = []
    for day in days:
        family = f"office/{channel}"
        release = Release(
            dice,
            f"{family}/{day:%Y-%m}",
            day,
            classification,
            (OFFICE,),
            requires=(detectoid_id(dice, "office"),),
        )
        build = f"{18_300 + 110 * month_index(day)}.{dice.number(f'{release.key}/build', 20_000, 20_400)}"
        leaf = release.leaf(
            "leaf",
            f"Office x64 16.0.{build}",
            files=[
                release.file(f"stream.x64.x-none.{build}.dat", 900 * MIB, 1_100 * MIB),
                release.file(f"stream.x64.de-de.{build}.dat", 90 * MIB, 130 * MIB),
                release.file(f"i640.{build}.cab", 20 * MIB, 25 * MIB),
            ],
            handler=command_line("OfficeC2RClient.exe", "/update user"),
            is_installed=rule.registry_value_exists(
                r"SOFTWARE\Microsoft\Office\ClickToRun\Configuration", f"16.0.{build}"
            ),
        )
        # versions are named for the month they were built in, which is the one before
        title = f"Microsoft 365 Apps Update - {channel} Version {patch_tuesdays(day, 2)[0]:%y%m}"
        bundle = replace(
            release.bundle(
                (
                    f"{title} for x64 based Edition (Build {build})",
                    f"{title} für x64-basierte Edition (Build {build})",
                ),
                _OFFICE_TEXT,
                (leaf.identity,),
            ),
            superseded=earlier_bundles(dice, family, day, 1),
            reach=reach,
        )
        revisions += [leaf, bundle]
    return revisions
