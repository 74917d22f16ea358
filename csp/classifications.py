"""The update classifications by GUID: approving one approves the whole class on a device (Update CSP).

Source: learn.microsoft.com "WSUS Classification GUIDs" (ff357803) and Policy CSP Update, unless a comment
says otherwise. Lists in the wild mix in GUIDs of products and companies, and GUIDs with a digit lost; none
of these is here.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CLASSIFICATIONS", "DEFINITION_UPDATES", "SECURITY_UPDATES"]

DEFINITION_UPDATES: Final = "e0789628-ce08-4437-be74-2495b842f43b"
"""Antimalware definitions; Microsoft strongly recommends approving this class always."""

SECURITY_UPDATES: Final = "0fa1201d-4330-4fa8-8ae9-b877473b6441"

CLASSIFICATIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "5c9376ab-8ce6-464a-b136-22113dd69801": "Applications",
        "434de588-ed14-48f5-8eed-a15e09a991f6": "Connectors",
        "e6cf1350-c01b-414d-a61f-263d14d133b4": "Critical Updates",
        DEFINITION_UPDATES: "Definition Updates",
        "e140075d-8433-45c3-ad87-e72345b36078": "Developer Kits",
        "ebfc1fc5-71a4-4f7b-9aca-3b9a503104a0": "Drivers",
        # from listings of Get-WsusClassification
        "77835c8d-62a7-41f5-82ad-f28d1af1e3b1": "Driver Sets",
        "b54e7d24-7add-428f-8b75-90a396fa584f": "Feature Packs",
        "9511d615-35b2-47bb-927f-f73d8e9260bb": "Guidance",
        # from one community list only
        "5eaef3e6-abb0-4192-9b26-0fd955381fa9": "Hotfix",
        SECURITY_UPDATES: "Security Updates",
        "68c5b0a3-d1a6-4553-ae49-01d3a7827828": "Service Packs",
        "b4832bd8-e735-4761-8daf-37f882276dab": "Tools",
        "28bc880e-0592-4cbf-8f95-c79b17911d5f": "Update Rollups",
        "cd5ffd1e-e932-4e3a-bf74-18bf0b1bbd83": "Updates",
        "3689bdc8-b205-4af4-8d4a-a63924c5e9d5": "Upgrades",
        # from community scripts
        "051f8713-e600-4bee-b7b7-690d43c78948": "WSUS Infrastructure Updates",
    },
)
"""GUID (lower case, no braces) to Microsoft's English name."""
