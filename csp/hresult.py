"""HRESULTs as devices write them, and what the common ones mean to the people who run the devices.

The sentences follow Microsoft's pages "Windows Update error codes by component", "Windows Update common
errors and mitigation", "WUA networking error codes" and "Upgrade error codes", and the names in cfgmgr2err.h,
in plain words.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from csp.errors import InvalidValue, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ADVICE",
    "MEANINGS",
    "advise",
    "describe",
    "explain",
    "find_hresult",
    "format_hresult",
    "parse_hresult",
]

_TEXT: Final = re.compile(r"-?[0-9]{1,16}|0[xX][0-9a-fA-F]{1,16}")
_LOWEST: Final = -(1 << 31)
_HIGHEST: Final = (1 << 32) - 1


def parse_hresult(text: str) -> int:
    """Read a signed, unsigned or `0x…` HRESULT as an unsigned 32-bit number; blanks around it are dropped.

    The node's Format is `int`, so -2145124318, 2149842978 and 0x80240022 are one value. Raises InvalidValue.
    """
    digits = text.strip()
    if not _TEXT.fullmatch(digits):
        raise InvalidValue(f"{quoted(text)} is not an HRESULT.")
    return _unsigned(int(digits, 16 if digits[:2] in ("0x", "0X") else 10))


def find_hresult(text: str) -> int | None:
    """The HRESULT as `parse_hresult` reads it, or None for a text that is none."""
    digits = text.strip()
    if not _TEXT.fullmatch(digits):
        return None
    value = int(digits, 16 if digits[:2] in ("0x", "0X") else 10)
    return value & _HIGHEST if _LOWEST <= value <= _HIGHEST else None


def format_hresult(value: int) -> str:
    """Write an HRESULT, signed or unsigned, as `0x%08X`; raises InvalidValue beyond 32 bits."""
    return f"0x{_unsigned(value):08X}"


def describe(value: int) -> str | None:
    """What the HRESULT, signed or unsigned, means in one sentence; None for one this table does not know.

    Raises InvalidValue beyond 32 bits.
    """
    return MEANINGS.get(_unsigned(value))


def advise(value: int) -> str | None:
    """What to do about the HRESULT, signed or unsigned, in one sentence; None for one this table does not know.

    Raises InvalidValue beyond 32 bits.
    """
    return ADVICE.get(_unsigned(value))


def explain(text: str | None) -> str | None:
    """What the HRESULT means that a device wrote as this text; None for no text, an unknown one, or no HRESULT."""
    try:
        return None if text is None else describe(parse_hresult(text))
    except InvalidValue:
        return None


def _unsigned(value: int) -> int:
    if not _LOWEST <= value <= _HIGHEST:
        raise InvalidValue(f"{value} does not fit the 32 bits of an HRESULT.")
    return value & _HIGHEST


MEANINGS: Final[Mapping[int, str]] = MappingProxyType(
    {
        0x00000000: "No failure was reported.",
        # Windows Update Agent (WU_E_*): the agent itself
        0x80240001: "The Windows Update Agent could not provide the service.",
        0x80240008: "The Windows Update Agent could not find the item asked for.",
        0x80240009: "Another operation that conflicts with this one was in progress.",
        0x8024000B: "The operation was cancelled by the user or by a service.",
        0x8024000C: "Nothing needed to be done.",
        0x8024000D: "The update's metadata lacks required information.",
        0x8024000E: "The update's metadata contains invalid information.",
        0x80240016: "Another installation was in progress, or the device was waiting for a mandatory restart.",
        0x80240017: "No update in the operation applies to this device.",
        0x8024001D: "The update contains invalid metadata.",
        0x8024001E: "The service or the device was shutting down before the operation completed.",
        0x8024001F: "The network connection was not available.",
        0x80240020: "No user was signed in, and this installation needs one.",
        0x80240022: "The operation failed for every update in it.",
        0x80240023: "The licence terms of all updates were declined.",
        0x80240024: "There are no updates.",
        0x80240025: "Policy prevents access to Windows Update.",
        0x8024002E: "Policy does not allow this device to use the public update service.",
        0x8024002F: "Policy disables Windows Update on this device.",
        0x80240033: "The licence terms could not be downloaded.",
        0x80240034: "The update failed to download.",
        0x80240438: "The update service cannot be reached from this device's network.",
        0x80240FFF: "The operation failed for a reason that no other code describes.",
        # Update handlers (WU_E_UH_*)
        0x80242006: "The installer found invalid metadata in the update.",
        0x8024200B: "The update's installer reported a failure.",
        0x8024200D: "The update must be downloaded again before it can be installed.",
        0x80242014: "The update still has work to finish after the restart.",
        0x80242016: "The update was in an unexpected state after the restart.",
        0x80242017: "The servicing stack must be updated before this update can be installed.",
        # Talking to the update server (WU_E_PT_*)
        0x80244007: "The update server answered with a SOAP fault.",
        0x80244010: "The scan needed more round trips to the update server than are allowed.",
        0x80244011: "The device is set to use WSUS, but no WSUS address is configured.",
        0x80244017: "The update server requires authentication (HTTP 401).",
        0x80244018: "The update server or a proxy refused the request (HTTP 403).",
        0x80244019: "The update server cannot find the file or service asked for (HTTP 404).",
        0x8024401B: "The proxy requires authentication (HTTP 407).",
        0x8024401C: "The update server timed out waiting for the request (HTTP 408).",
        0x8024401F: "The update server had an internal error (HTTP 500).",
        0x80244022: "The update server is temporarily overloaded (HTTP 503).",
        0x8024402C: "The name of the update server or of the proxy cannot be resolved.",
        0x8024402F: "A downloaded cabinet file was processed with errors, often because of a web filter.",
        # Download (WU_E_DM_*, BITS, Delivery Optimization)
        0x80246002: "The downloaded file does not have the expected hash.",
        0x80246007: "The update has not been downloaded.",
        0x80246008: "The Background Intelligent Transfer Service could not be reached.",
        0x80200053: "The downloaded content failed validation, often because a firewall filters downloads.",
        0x80D02002: "The download made no progress within the time allowed.",
        # Component servicing (CBS_E_*, PSFX_E_*, ERROR_SXS_*)
        0x800F081E: "The package does not apply to this edition or build of Windows.",
        0x800F081F: "The source files of a component could not be found.",
        0x800F0821: "A servicing operation took too long and was stopped.",
        0x800F0823: "The package needs a newer servicing stack.",
        0x800F0825: "The package cannot be uninstalled.",
        0x800F0831: "The component store lacks files of an earlier update.",
        0x800F0920: "A servicing operation stopped responding.",
        0x800F0922: "An installer inside the update failed, often because a system partition is too small.",
        0x800F0982: "A component that the update builds on could not be found.",
        0x800F0984: "A file that the update builds on is missing.",
        0x800F0986: "A delta of the update could not be applied to the installed file.",
        0x80073701: "An assembly that the update refers to is missing from the component store.",
        0x80073712: "The component store is corrupt.",
        # Win32 and COM
        0x80004005: "The operation failed without giving a reason.",
        0x80070002: "A file was not found.",
        0x80070003: "A path was not found.",
        0x80070005: "Access to a file or registry key was denied.",
        0x8007000D: "Data was invalid: a download or a file is corrupt.",
        0x8007000E: "The device ran out of memory.",
        0x80070020: "A file was in use by another program, such as an antivirus.",
        0x80070057: "A parameter was not correct.",
        0x80070070: "There is not enough disk space.",
        0x80070422: "The Windows Update service is disabled or not running.",
        0x80070490: "An element was not found, typically a driver or a component.",
        0x80070570: "A file or folder is corrupt and unreadable.",
        0x800705B4: "The operation timed out.",
        0x80070643: "The update's installer ended with a fatal error.",
        0x80070652: "Another installation was already running.",
        0x80070BC9: "The installation failed and needs a restart to roll back its changes.",
        # The configuration manager, which carries out a management server's commands (CFGMGR_E_*)
        0x86000001: "The value has another type than the setting.",
        0x86000002: "The device has no such setting.",
        0x86000003: "The command is not possible together with others that are all to succeed or all to fail.",
        0x86000005: "Some of several commands that belong together failed.",
        0x86000008: "The changes could not be made final.",
        0x86000009: "What had been done could not be undone.",
        0x8600000C: "The part of Windows that the setting belongs to is not registered correctly.",
        0x86000011: "The setting does not allow this command, or this build or edition lacks it.",
        0x86000013: "The setting does not have the property asked for.",
        0x86000016: "The setting may not be read or written.",
        0x86000018: "The XML of the value could not be read.",
        0x86000019: "The command took too long.",
        0x86000023: "Another source of configuration has set this already.",
        # The network, as WinINet and WinHTTP report it
        0x80072EE2: "The connection to the update server timed out.",
        0x80072EE7: "The name of the server could not be resolved.",
        0x80072EFD: "A connection to the update server could not be made.",
        0x80072EFE: "The connection to the update server was closed unexpectedly.",
        0x80072F8F: "A secure connection failed, typically because of TLS settings or a wrong clock.",
        # Feature updates (MOSETUP_E_*)
        0xC1900101: "A driver made the feature update fail, and the device was rolled back.",
        0xC1900107: "Files of an earlier upgrade attempt await cleaning up; a restart is needed.",
        0xC1900200: "The device does not meet the minimum requirements of the feature update.",
        0xC1900208: "An incompatible app blocks the feature update.",
        0xC190020E: "There is not enough free disk space for the feature update.",
    },
)

_BY_ADVICE: Final[tuple[tuple[str, tuple[int, ...]], ...]] = (
    (
        "Restart the device; Windows tries again at its next scan.",
        (
            0x80240016,
            0x80242014,
            0x80242016,
            0x8024001E,
            0x80070BC9,
            0xC1900107,
            0x80070652,
            0x800F0920,
            0x800F0821,
        ),
    ),
    (
        "Nothing to do: Windows tries again at its next scan.",
        (0x80240009, 0x8024000B, 0x8024000C, 0x80240024, 0x80244022, 0x80246007, 0x80240008, 0x8024200D),
    ),
    (
        "Look whether a newer update replaces this one, and whether it is meant for this build and edition; if not, block it.",
        (0x80240017, 0x800F081E, 0x800F0825),
    ),
    (
        "Wait for a newer revision of the update; if it stays, block this one.",
        (0x8024000D, 0x8024000E, 0x8024001D, 0x80242006),
    ),
    (
        "Check that the device reaches the update service: network, name resolution, proxy, firewall.",
        (
            0x8024001F,
            0x80240438,
            0x8024402C,
            0x80072EE2,
            0x80072EE7,
            0x80072EFD,
            0x80072EFE,
            0x8024401C,
            0x80244019,
        ),
    ),
    (
        "Let the proxy pass the update service for the device itself, which has no user to sign in.",
        (0x80244017, 0x8024401B, 0x80244018),
    ),
    (
        "Check the clock of the device, its TLS settings, and whether a proxy opens TLS connections.",
        (0x80072F8F,),
    ),
    (
        "Exempt the update service and its downloads from the web filter.",
        (0x8024402F, 0x80200053, 0x80240033),
    ),
    (
        "Look at the update server's own log and its state.",
        (0x8024401F, 0x80244007),
    ),
    (
        "Decline superseded updates on the update server, so that a scan needs fewer round trips.",
        (0x80244010,),
    ),
    (
        "Correct the device's policies for the source of updates (UpdateServiceUrl, AllowUpdateService and their like).",
        (0x80244011, 0x8024002E, 0x80240025, 0x8024002F),
    ),
    (
        "Start the Windows Update service and the Background Intelligent Transfer Service on the device.",
        (0x80070422, 0x80246008),
    ),
    (
        "Let a user sign in, or deploy the update in another way: it cannot be installed without one.",
        (0x80240020,),
    ),
    (
        "Free disk space on the device.",
        (0x80070070, 0xC190020E),
    ),
    (
        "Make more room in the device's system or recovery partition, and look at its CBS.log.",
        (0x800F0922,),
    ),
    (
        "Install the newest servicing stack update first.",
        (0x80242017, 0x800F0823),
    ),
    (
        "Repair the component store on the device: DISM /Online /Cleanup-Image /RestoreHealth, then restart it.",
        (
            0x800F081F,
            0x800F0831,
            0x80073701,
            0x80073712,
            0x800F0982,
            0x800F0984,
            0x800F0986,
            0x80070490,
            0x80070570,
        ),
    ),
    (
        "Have the device download it again: stop its Windows Update service and empty SoftwareDistribution\\Download.",
        (0x80246002, 0x8007000D, 0x80240034, 0x80D02002, 0x80070002, 0x80070003),
    ),
    (
        "See what the antivirus or another program on the device holds, and restart the device.",
        (0x80070005, 0x80070020),
    ),
    (
        "Close programs on the device or restart it.",
        (0x8007000E, 0x800705B4),
    ),
    (
        "Look at the installer's own log on the device; WindowsUpdate.log (Get-WindowsUpdateLog) names it.",
        (0x8024200B, 0x80070643, 0x80004005, 0x80070057, 0x80240FFF, 0x80240022, 0x80240001),
    ),
    (
        "Accept the licence of the update, then approve it again.",
        (0x80240023,),
    ),
    (
        "Update or remove drivers of the device, then try again; its Panther folder says which one failed.",
        (0xC1900101,),
    ),
    (
        "Leave this device on its version, or replace it.",
        (0xC1900200,),
    ),
    (
        "Update or remove the app that setup names in the device's Panther folder.",
        (0xC1900208,),
    ),
    (
        "Check which value the setting takes on this build of Windows.",
        (0x86000001, 0x86000013, 0x86000018),
    ),
    (
        "Leave the setting alone on this device: its build or edition lacks it.",
        (0x86000002, 0x86000011, 0x8600000C),
    ),
    (
        "Take away the other source of the setting: group policy, another management server, a provisioning package.",
        (0x86000023, 0x86000016),
    ),
    (
        "Try again in the next session; if it stays, the device's event log (DeviceManagement-Enterprise-Diagnostics-Provider) says more.",
        (0x86000003, 0x86000005, 0x86000008, 0x86000009, 0x86000019),
    ),
)
"""Advice, and the HRESULTs it is for: what an administrator would try first."""

ADVICE: Final[Mapping[int, str]] = MappingProxyType(
    {value: sentence for sentence, values in _BY_ADVICE for value in values}
)
