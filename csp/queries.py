"""What to ask a device so that its Update tree and its Windows are known.

One Get per subtree, so that one failure hides no other.
"""

from __future__ import annotations

from typing import Final

from csp.guid import guid_segment
from syncml.exchange import Request

__all__ = ["confirm_installed", "identity_queries", "state_queries"]

_UPDATE: Final = "./Vendor/MSFT/Update"
_IDENTITY: Final = ("./DevDetail/SwV", "./DevDetail/Ext/Microsoft/OSPlatform")


def _listing(path: str) -> Request:
    return Request("Get", f"{_UPDATE}/{path}?list=StructData")


def state_queries(*, installed: bool) -> tuple[Request, ...]:
    """The Gets of a check-in, in the order they are to be sent.

    InstalledUpdates, by far the largest and slowest to change, is asked last and only if `installed`.
    """
    queries = (
        _listing("InstallableUpdates"),
        _listing("FailedUpdates"),
        _listing("PendingRebootUpdates"),
        _listing("ApprovedUpdates"),
        Request("Get", f"{_UPDATE}/LastSuccessfulScanTime"),
    )
    return (*queries, _listing("InstalledUpdates")) if installed else queries


def identity_queries() -> tuple[Request, ...]:
    """The Gets of the build and of the edition of a device's Windows; `csp.identity` reads their answers."""
    return tuple(Request("Get", uri) for uri in _IDENTITY)


def confirm_installed(guid: str) -> Request:
    """The Get that tells whether one update is installed (404: it is not); raises InvalidGuid."""
    return _listing(f"InstalledUpdates/{guid_segment(guid)}")
