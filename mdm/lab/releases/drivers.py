"""Drivers of some hardware."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mdm.lab.documents import AtLeastOne, Handler, Reach, Revision, Text
from mdm.lab.products import DRIVERS, SERVICING_DRIVERS, WINDOWS_11_BUILDS
from mdm.lab.releases import applicability as rule
from mdm.lab.releases.licences import licence_files
from mdm.lab.releases.numbering import month_index
from mdm.lab.releases.packages import MIB, WINDOWS_PUBLISHER, Release

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mdm.lab.dice import Dice

__all__ = ["driver_updates"]


def driver_updates(dice: Dice, days: Sequence[datetime]) -> list[Revision]:
    """Drivers are no bundles: metadata, rules and files are in the one visible document."""
    bluetooth = _driver(
        dice,
        days[-3],
        provider="Intel Corporation",
        kind="Bluetooth",
        model="Intel(R) Wireless Bluetooth(R)",
        hardware_id=r"USB\VID_8087&PID_0033",
    )
    audio = _driver(
        dice,
        days[-2],
        provider="Realtek Semiconductor Corp.",
        kind="MEDIA",
        model="Realtek High Definition Audio",
        hardware_id=r"HDAUDIO\FUNC_01&VEN_10EC&DEV_0256",
    )
    firmware = _driver(
        dice,
        days[-1],
        provider="Contoso Devices",
        kind="Firmware",
        model="Contoso System Firmware",
        hardware_id=r"UEFI\RES_{5ffdbda9-8ecc-4a7c-8e5d-8f6b3c5c8e11}",
    )
    licence = licence_files("Intel(R) Wireless Bluetooth(R)", days[-3])
    reach = Reach(WINDOWS_11_BUILDS)
    return [
        replace(bluetooth, eula_id=dice.guid("eula/bluetooth"), eula_files=licence, reach=reach),
        replace(audio, reboot_behavior="CanRequestReboot", reach=reach),
        replace(firmware, reboot_behavior="AlwaysRequiresReboot"),
    ]


def _driver(dice: Dice, day: datetime, *, provider: str, kind: str, model: str, hardware_id: str) -> Revision:
    release = Release(dice, f"driver/{provider}/{day:%Y-%m}", day, DRIVERS, (SERVICING_DRIVERS,))
    version = f"23.{month_index(day)}.0.{dice.number(f'{release.key}/version', 1, 9)}"
    file = release.file(f"{release.guid('bundle')}.cab", 2 * MIB, 60 * MIB)
    return Revision(
        update_id=release.guid("bundle"),
        revision_number=1,
        update_type="Driver",
        texts=(
            Text(
                "de",
                f"{provider} - {kind} - {version}",
                f"{provider} {kind}-Treiberupdate, veröffentlicht {day:%m.%Y}",
            ),
            Text(
                "en",
                f"{provider} - {kind} - {version}",
                f"{provider} {kind} driver update released in {day:%B %Y}",
            ),
        ),
        created=day,
        publisher_id=WINDOWS_PUBLISHER,
        max_download_size=file.size,
        explicitly_deployable=True,
        auto_select=True,
        reboot_behavior="NeverReboots",
        impact="Normal",
        prerequisites=(
            AtLeastOne((DRIVERS,), is_category=True),
            AtLeastOne((SERVICING_DRIVERS,), is_category=True),
        ),
        is_installed=rule.driver("Installed"),
        is_superseded=rule.driver("Superseded"),
        is_installable=rule.driver("Installable"),
        rule_metadata=rule.driver_metadata(
            hardware_id, provider=provider, kind=kind, model=model, version=version, date=f"{day:%Y-%m-%d}"
        ),
        files=(file,),
        handler=Handler("drv", "WindowsDriver", ""),
    )
