"""What to ask a device so that its Update tree and its Windows are known.

One Get per subtree, so that one failure hides no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from csp.guid import guid_segment
from csp.policy import result_uri
from syncml.exchange import Request

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["confirm_installed", "identity_queries", "policy_queries", "state_queries"]

_UPDATE: Final = "./Vendor/MSFT/Update"
_IDENTITY: Final = (
    "./DevDetail/SwV",
    "./DevDetail/Ext/Microsoft/OSPlatform",
    # Windows 10 2004 and 1809 brought these; a build before answers 404.
    "./DevDetail/Ext/Microsoft/DNSComputerName",
    "./DevDetail/Ext/Microsoft/SMBIOSSerialNumber",
)


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
    """The Gets of a device's build, edition, computer name and serial number; `csp.identity` reads their answers."""
    return tuple(Request("Get", uri) for uri in _IDENTITY)


def policy_queries(names: Iterable[str]) -> tuple[Request, ...]:
    """The Gets of the values in effect of these policies, by name; `csp.policy_results` reads their answers.

    From Policy/Result, because Policy/Config shows this enrolment's own values only. Raises InvalidValue for a
    name that is no policy of the area.
    """
    return tuple(Request("Get", result_uri(name)) for name in sorted(set(names)))


def confirm_installed(guid: str) -> Request:
    """The Get that tells whether one update is installed (404: it is not); raises InvalidGuid."""
    return _listing(f"InstalledUpdates/{guid_segment(guid)}")
