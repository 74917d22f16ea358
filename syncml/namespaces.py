"""The XML namespaces of OMA DM as they appear on the wire, and which of them are read alike."""

from __future__ import annotations

__all__ = [
    "METINF",
    "METINF_LIKE",
    "MICROSOFT",
    "ORIGINAL_ERROR",
    "SYNCML_1_1",
    "SYNCML_1_2",
    "SYNCML_LIKE",
    "XML",
]

SYNCML_1_1 = "SYNCML:SYNCML1.1"
"""DM 1.1; Microsoft's samples mix it with 1.2."""

SYNCML_1_2 = "SYNCML:SYNCML1.2"
"""DM 1.2 (RepPro 1.2.1 chapter 5): what is written."""

METINF = "syncml:metinf"
"""The children of Meta (MetInf 1.2)."""

MICROSOFT = "http://schemas.microsoft.com/MobileDevice/MDM"
"""Holds `originalerror` (MS-MDM 2.2.6.1)."""

XML = "http://www.w3.org/XML/1998/namespace"
"""Bound to the prefix `xml` and to no other (Namespaces in XML 1.0 chapter 3)."""

SYNCML_LIKE = frozenset({SYNCML_1_2, SYNCML_1_1, ""})
"""Read as SyncML; the local MDM API of Windows writes no namespace at all."""

METINF_LIKE = SYNCML_LIKE | {METINF}
"""Read as MetInf inside Meta; samples of Microsoft and of Fleet forget the declaration."""

ORIGINAL_ERROR = f"{{{MICROSOFT}}}originalerror"
"""The attribute of Status Data that carries a HRESULT."""
