"""Switches of the virtual upstream: the ways in which real servers differ, and the ways in which they fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mdm.lab.faults import FaultRule

__all__ = ["UpstreamOptions"]


@dataclass(frozen=True, slots=True)
class UpstreamOptions:
    """How the upstream behaves; the defaults are a healthy WSUS."""

    flavour: Literal["wsus", "mu"] = "wsus"
    """Microsoft Update orders GetConfigData's members in its own way, wants Get63LanguageOnly, and has drivers."""
    missing: Literal["wsus", "mu"] = "wsus"
    """GetUpdateData for an unknown revision: an anonymous InternalServerError, or one that names the missing."""
    compress: Literal["auto", "always", "never"] = "auto"
    """Which documents go out as cabinets; `auto`: those over 5,120 bytes of UTF-16 (MS-WSUSSS note 36)."""
    driver_anchors: bool = True
    """False: a full list of drivers comes without an anchor, as Microsoft Update's may."""
    lazy_content: bool = False
    """Files are not here before DownloadFiles has asked for them; until then they are 404."""
    cookie_lifetime: timedelta = timedelta(minutes=240)
    max_updates: int = 100
    """Identities in one GetUpdateData, and in the other calls that take lists of them."""
    max_answer_bytes: int = 2_000_000
    """GetUpdateData stops when the updates in its answer pass this, and comes back short (MS-WSUSSS note 37)."""
    generation: int = 1_000
    """The counter in anchors; changing it makes every anchor given out before one of another server."""
    fail_next: int = 0
    """How many requests are answered with HTTP 503 and nothing else."""
    faults: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Operation -> ErrorCodes its next calls are answered with, each once, e.g. `{"GetUpdateData": ["ServerBusy"]}`."""
    rules: Sequence[FaultRule] = ()
    """Faults of all kinds, struck by count or by chance; see `mdm.lab.faults`."""
    seed: int = 1
    """Of that chance."""
    delay: float = 0.0
    """Seconds every answer waits."""
