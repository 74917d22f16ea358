"""Windows versions by the names that `since` uses, and their builds as a DDF writes them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RELEASES", "os_builds"]

RELEASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "1507": "10.0.10240",
        "1511": "10.0.10586",
        "1607": "10.0.14393",
        "1703": "10.0.15063",
        "1709": "10.0.16299",
        "1803": "10.0.17134",
        "1809": "10.0.17763",
        "1903": "10.0.18362",
        "1909": "10.0.18363",
        "2004": "10.0.19041",
        "20H2": "10.0.19042",
        "21H1": "10.0.19043",
        "21H2": "10.0.19044",
        "22H2": "10.0.19045",
        "Server 2022": "10.0.20348",
        "W11 21H2": "10.0.22000",
        "W11 22H2": "10.0.22621",
        "W11 24H2": "10.0.26100",
        # What Microsoft writes for a Windows that only insiders have.
        "unreleased": "99.9.99999",
    }
)
"""Name of a Windows version to its first build; Windows 10 has bare names."""


def os_builds(since: str) -> str:
    """`2004+1202 / W11 21H2` as the DDF's OsBuildVersion: `10.0.19041.1202, 10.0.22000`.

    Raises KeyError for a name that is none of `RELEASES`.
    """
    builds = []
    for entry in since.split(" / "):
        release, *revision = entry.split("+")
        builds.append(".".join([RELEASES[release], *revision]))
    return ", ".join(builds)
