"""What the generated catalogue is about: classifications, products and Windows versions, with their real ids."""

from __future__ import annotations

from dataclasses import dataclass

from csp.classifications import CLASSIFICATIONS as NAMES

__all__ = [
    "ALL_BUILDS",
    "CLASSIFICATIONS",
    "COMPANY",
    "CRITICAL",
    "DEFENDER",
    "DEFINITIONS",
    "DRIVERS",
    "FEATURE_PACKS",
    "LINES",
    "OFFICE",
    "OFFICE_FAMILY",
    "OOBE_ZDP",
    "ROLLUPS",
    "SECURITY",
    "SERVICING_DRIVERS",
    "UPDATES",
    "UPGRADES",
    "WINDOWS_10",
    "WINDOWS_11",
    "WINDOWS_11_BUILDS",
    "WINDOWS_FAMILY",
    "WindowsLine",
]

_ID = {name: guid for guid, name in NAMES.items()}

CRITICAL = _ID["Critical Updates"]
DEFINITIONS = _ID["Definition Updates"]
DRIVERS = _ID["Drivers"]
FEATURE_PACKS = _ID["Feature Packs"]
SECURITY = _ID["Security Updates"]
ROLLUPS = _ID["Update Rollups"]
UPDATES = _ID["Updates"]
UPGRADES = _ID["Upgrades"]

_GERMAN = {
    "Critical Updates": "Wichtige Updates",
    "Drivers": "Treiber",
    "Driver Sets": "Treibersätze",
    "Feature Packs": "Feature Packs",
    "Security Updates": "Sicherheitsupdates",
    "Service Packs": "Service Packs",
    "Tools": "Tools",
    "Update Rollups": "Updaterollups",
    "Updates": "Updates",
    "Definition Updates": "Definitionsupdates",
    "Upgrades": "Upgrades",
    "Applications": "Anwendungen",
}
CLASSIFICATIONS = {_ID[english]: (english, german) for english, german in _GERMAN.items()}
"""The twelve classifications in use: GUID -> English and German title."""

COMPANY = "56309036-4c77-4dd9-951a-99ee9c246a94"
WINDOWS_FAMILY = "6964aab4-c5b5-43bd-a17d-ffb4346a8e1d"
OFFICE_FAMILY = "477b856e-65c4-4473-b621-a8b230bcc669"

WINDOWS_11 = "72e7624a-5b00-45d2-b92f-e561c0a6a160"
WINDOWS_10 = "b3c75dc1-155f-4be4-b015-3f1a91758e52"
DEFENDER = "8c3fcc84-7410-4a95-8b89-a166a0190486"
OFFICE = "30eb551c-6288-4716-9a78-f300ec36d72b"
SERVICING_DRIVERS = "7dd9959a-e808-477a-ab89-b2e3d3ed1f65"
OOBE_ZDP = "dd78b8a1-0b20-45c1-add6-4da72e9364cf"


@dataclass(frozen=True, slots=True)
class WindowsLine:
    """One Windows version that gets its own cumulative updates."""

    key: str
    title: str
    build: int
    product: str
    branch: str
    """Versions of one branch share a month's KB and build revision."""
    ubr_at_2025: int
    ubr_per_month: int


LINES = (
    WindowsLine("25H2", "Windows 11 Version 25H2", 26200, WINDOWS_11, "ge", 2800, 400),
    WindowsLine("24H2", "Windows 11 Version 24H2", 26100, WINDOWS_11, "ge", 2800, 400),
    WindowsLine("23H2", "Windows 11 Version 23H2", 22631, WINDOWS_11, "ni", 4700, 140),
    WindowsLine("22H2", "Windows 10 Version 22H2", 19045, WINDOWS_10, "vb", 5300, 90),
)

ALL_BUILDS = frozenset(line.build for line in LINES)
WINDOWS_11_BUILDS = frozenset(line.build for line in LINES if line.product == WINDOWS_11)
