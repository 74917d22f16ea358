"""Every error this package raises, as one small tree.

    SyncMLError
    ├── LocalProtocolError        we were asked to do something the protocol forbids (a bug of the caller)
    └── RemoteProtocolError       the peer sent something the protocol forbids
        ├── MalformedMessage      not well-formed XML, or not a SyncML message at all
        ├── LimitExceeded         well-formed perhaps, but larger than `Limits` allows
        └── InvalidHeader         a SyncHdr a session cannot work with (no SessionID, bad MsgID, ...)

Any other exception that leaves `syncml` is a defect of this package.
"""

from __future__ import annotations

from syncml.status import StatusCode

__all__ = [
    "InvalidHeader",
    "LimitExceeded",
    "LocalProtocolError",
    "MalformedMessage",
    "RemoteProtocolError",
    "SyncMLError",
]


class SyncMLError(Exception):
    """The root of the tree: catch it to catch everything this package raises."""


class LocalProtocolError(SyncMLError):
    """The caller asked for a message the protocol does not allow; nothing was sent."""


class RemoteProtocolError(SyncMLError):
    """The peer broke the protocol; `status_hint` is the SyncML status that says so (RepPro 1.2 chapter 10)."""

    status_hint: StatusCode = StatusCode.BAD_REQUEST

    def __init__(self, detail: str) -> None:
        """`detail` is one sentence for the log; it never quotes more than a short piece of the input."""
        super().__init__(detail)
        self.detail = detail


class MalformedMessage(RemoteProtocolError):  # noqa: N818 - named for what the peer sent
    """The bytes are not well-formed XML in UTF-8, carry a DTD, or are not a SyncML document."""


class LimitExceeded(RemoteProtocolError):  # noqa: N818 - as above
    """One of `Limits` was passed; the detail names which and its value."""

    status_hint = StatusCode.REQUEST_ENTITY_TOO_LARGE


class InvalidHeader(RemoteProtocolError):  # noqa: N818 - as above
    """The SyncHdr lacks what a session needs: SessionID, MsgID, Source/LocURI, a known VerProto."""
