"""Every error of the upstream side, as one small tree.

    UpstreamError
    ├── TransportError          no usable answer after all tries; the next run may succeed
    │   └── AnswerTimeout       the answer did not come, or not whole, within its time
    ├── SoapFault               the upstream answered with a fault (MS-WSUSSS 2.2.2)
    └── InvalidAnswer           the answer is not what the protocol says
        ├── AnswerTooLarge      longer than this bridge reads of such an answer
        ├── BlobError           an update's XmlUpdateBlobCompressed cannot be decoded
        └── ContentMismatch     a file is not the one its digests name

`str()` of each is one sentence for an administrator; none quotes a cookie.
"""

from __future__ import annotations

__all__ = [
    "AnswerTimeout",
    "AnswerTooLarge",
    "BlobError",
    "ContentMismatch",
    "InvalidAnswer",
    "SoapFault",
    "TransportError",
    "UpstreamError",
]

_SHOWN = 300
"""Characters of the peer's own words a sentence may carry."""


class UpstreamError(Exception):
    """The root of the tree: catch it to catch everything this package raises."""


class TransportError(UpstreamError):
    """No usable answer after all tries: refused connection, HTTP 429 or 502-504, HTTP 500 without a fault."""


class AnswerTimeout(TransportError):  # noqa: N818 - named for what happened, as are the others
    """The answer did not come, or not whole, within its time."""


class SoapFault(UpstreamError):  # noqa: N818 - the protocol's own word
    """The upstream answered with a fault; which codes want which reaction is MS-WSUSSS 2.2.2.4."""

    def __init__(self, error_code: str | None, message: str, method: str | None) -> None:
        """`error_code` is None for a fault without one; `method` is the SOAPAction it names, unquoted."""
        words = f"the upstream refused {(method or 'the call').rpartition('/')[2]}: {error_code or 'no ErrorCode'}"
        super().__init__(f"{words}: {message[:_SHOWN]}" if message else words)
        self.error_code = error_code
        self.message = message
        self.method = method


class InvalidAnswer(UpstreamError):  # noqa: N818 - named for what the peer sent
    """The answer is not what the protocol says."""


class AnswerTooLarge(InvalidAnswer):
    """The answer is longer than this bridge reads of such an answer; asking for less may help."""


class BlobError(InvalidAnswer):
    """An update's XmlUpdateBlobCompressed cannot be decoded."""


class ContentMismatch(InvalidAnswer):
    """A file is not the one its digests name."""
