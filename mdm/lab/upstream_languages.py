"""The languages an upstream knows: LanguageID, short and long name, as GetConfigData lists them (MS-WSUSSS 3.1.4.4)."""

from __future__ import annotations

from typing import Final

__all__ = ["ALL", "ENABLED", "LANGUAGES", "SHORT_NAMES"]

ALL: Final = "all"
"""The short name of the entry that stands for every language; its number is 0."""
ENABLED: Final = frozenset({ALL, "en", "de"})
"""Switched on at this upstream."""

LANGUAGES: Final = (
    (0, "all", "all"),
    (1025, "ar", "Arabic"),
    (1028, "zh-tw", "Chinese (Traditional)"),
    (1029, "cs", "Czech"),
    (1030, "da", "Danish"),
    (1031, "de", "German"),
    (1032, "el", "Greek"),
    (1033, "en", "English"),
    (1034, "es", "Spanish"),
    (1035, "fi", "Finnish"),
    (1036, "fr", "French"),
    (1037, "he", "Hebrew"),
    (1038, "hu", "Hungarian"),
    (1040, "it", "Italian"),
    (1041, "ja", "Japanese"),
    (1042, "ko", "Korean"),
    (1043, "nl", "Dutch"),
    (1044, "no", "Norwegian"),
    (1045, "pl", "Polish"),
    (1046, "pt-br", "Portuguese (Brazil)"),
    (1049, "ru", "Russian"),
    (1053, "sv", "Swedish"),
    (1055, "tr", "Turkish"),
    (2052, "zh-cn", "Chinese (Simplified)"),
    (2070, "pt", "Portuguese (Portugal)"),
    (3076, "zh-hk", "Chinese (Hong Kong SAR)"),
    (66577, "ja-nec", "Japanese NEC"),
)

SHORT_NAMES: Final = {number: short for number, short, _ in LANGUAGES}
"""LanguageID -> short name."""
