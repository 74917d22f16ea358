"""The HRESULT that Windows had before it made a status of it: what msft:originalerror says (cfgmgr2err.h, winerror.h)."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from csp.hresult import format_hresult
from syncml.status import StatusCode

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ILLEGAL_IN_A_TRANSACTION", "ORIGINAL_ERRORS"]

ORIGINAL_ERRORS: Final[Mapping[StatusCode, str]] = MappingProxyType(
    {
        status: format_hresult(hresult)
        for status, hresult in (
            (StatusCode.UNSUPPORTED_MEDIA_TYPE_OR_FORMAT, 0x86000001),  # CFGMGR_E_INVALIDDATATYPE
            (StatusCode.NOT_FOUND, 0x86000002),  # CFGMGR_E_NODENOTFOUND
            (StatusCode.ATOMIC_FAILED, 0x86000005),  # CFGMGR_E_ONEORMOREEXECUTIONFAILURES
            (StatusCode.ATOMIC_ROLL_BACK_FAILED, 0x86000009),  # CFGMGR_E_ROLLBACKFAILURE
            (StatusCode.COMMAND_NOT_ALLOWED, 0x86000011),  # CFGMGR_E_COMMANDNOTALLOWED
            (StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED, 0x86000013),  # CFGMGR_E_PROPERTYNOTSUPPORTED
            (StatusCode.COMMAND_FAILED, 0x80070057),  # E_INVALIDARG: a value the CSP does not take
        )
    }
)
"""By status. 418 is none of them: that a node is there already is no failure of Windows."""

ILLEGAL_IN_A_TRANSACTION: Final = format_hresult(0x86000003)
"""CFGMGR_E_ILLEGALOPERATIONINATRANSACTION, which an Atomic answers with 500 to what it does not take."""
