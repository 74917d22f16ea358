"""Applicability rules of generated documents: enough of the real vocabulary to look, and weigh, like them.

No virtual device evaluates these rules (`Revision.reach` decides), just as a server never does. They are here
because they are most of a real document's bytes. Sources: MS-WUSP BaseApplicabilityRules and WindowsDriver
schemas; the shape of the CBS manifest is from published packages, its prefix is an assumption.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from mdm.lab.documents import NAMESPACES

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "TRUE",
    "all_of",
    "any_of",
    "build_revision_at_least",
    "cbs_package",
    "driver",
    "driver_metadata",
    "file_version_at_least",
    "negate",
    "registry_value_exists",
    "windows_build",
]

TRUE = "<lar:True />"

_MACHINE = 'Key="HKEY_LOCAL_MACHINE"'
_CURRENT_VERSION = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion"


def all_of(*rules: str) -> str:
    """Every rule must hold."""
    return _logical("And", rules)


def any_of(*rules: str) -> str:
    """One rule must hold."""
    return _logical("Or", rules)


def negate(rule: str) -> str:
    """The rule must not hold."""
    return _logical("Not", (rule,))


def windows_build(comparison: str, build: int) -> str:
    """The Windows 10.0 build compares so with `build`, e.g. `GreaterThanOrEqualTo`."""
    return _base(
        f'WindowsVersion Comparison="{comparison}" MajorVersion="10" MinorVersion="0" BuildNumber="{build}"'
    )


def build_revision_at_least(ubr: int) -> str:
    """The update build revision in the registry is `ubr` or higher."""
    return _base(
        f'RegDword {_MACHINE} Subkey="{_CURRENT_VERSION}" Value="UBR" '
        f'Comparison="GreaterThanOrEqualTo" Data="{ubr}"'
    )


def file_version_at_least(path: str, version: str, subkey: str, value: str) -> str:
    """The file below the folder a registry value names has this version or a newer one."""
    return _base(
        f'FileVersionPrependRegSz Path="{html.escape(path)}" Comparison="GreaterThanOrEqualTo" '
        f'Version="{version}" {_MACHINE} Subkey="{html.escape(subkey)}" Value="{value}"'
    )


def registry_value_exists(subkey: str, value: str) -> str:
    """The registry has this value."""
    return _base(f'RegValueExists {_MACHINE} Subkey="{html.escape(subkey)}" Value="{value}" Type="REG_SZ"')


def cbs_package(name: str, version: str, components: Iterable[str]) -> str:
    """The package manifest a cumulative update carries in ApplicabilityRules/Metadata; the bulk of its bytes."""
    identity = 'processorArchitecture="amd64" publicKeyToken="31bf3856ad364e35"'
    updates = "".join(
        f'<update name="{component}"><package contained="true" integrate="hidden"><assemblyIdentity '
        f'name="{component}" version="{version}" {identity} language="neutral" /></package></update>'
        for component in components
    )
    return (
        f'<cbsar:CbsPackageApplicabilityMetadata xmlns:cbsar="{NAMESPACES["cbsar"]}">'
        '<assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0">'
        f'<assemblyIdentity name="{name}" version="{version}" {identity} language="neutral" />'
        f'<package identifier="{name}" releaseType="Security Update" restart="possible">{updates}</package>'
        "</assembly></cbsar:CbsPackageApplicabilityMetadata>"
    )


def driver(rule: str) -> str:
    """One of the three driver rules: `Installed`, `Superseded` or `Installable`."""
    return f'<drv:WindowsDriver{rule} xmlns:drv="{NAMESPACES["drv"]}" />'


def driver_metadata(
    hardware_id: str, *, provider: str, kind: str, model: str, version: str, date: str
) -> str:
    """WindowsDriverMetaData of one hardware id, with every attribute its schema requires."""
    company = html.escape(provider)
    return (
        f'<drv:WindowsDriverMetaData xmlns:drv="{NAMESPACES["drv"]}" HardwareID="{html.escape(hardware_id)}" '
        f'DriverVerDate="{date}" DriverVerVersion="{version}" WhqlDriverID="{len(model) * 7919}" '
        f'Class="{kind}" Company="{company}" Provider="{company}" Manufacturer="{company}" '
        f'Model="{html.escape(model)}"><drv:FeatureScore OperatingSystem="*" FeatureScore="00" />'
        "</drv:WindowsDriverMetaData>"
    )


def _logical(name: str, rules: Iterable[str]) -> str:
    return f'<lar:{name} xmlns:lar="{NAMESPACES["lar"]}">{"".join(rules)}</lar:{name}>'


def _base(rule: str) -> str:
    return f'<bar:{rule} xmlns:bar="{NAMESPACES["bar"]}" />'
