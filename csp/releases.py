"""Windows versions by the names that `since` uses, and their builds as a DDF writes them."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RELEASES", "is_in", "os_builds"]

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


_SINCE: Final = re.compile(r"(?P<release>[^+]+)(?:\+(?P<revision>[0-9]+))?")
_NUMBERS: Final = {name: int(build.split(".")[2]) for name, build in RELEASES.items()}
"""Windows versions by name, and their build numbers."""

_ONE_SERVICING: Final = (
    frozenset({18362, 18363}),
    frozenset(range(19041, 19046)),
)
"""Builds that share their cumulative updates, and so their build revisions (UBR)."""


def is_in(since: str, number: int, revision: int) -> bool:
    """True if a Windows of this build and revision has what exists since `1607`, or `W11 21H2 / 2004+546 / 1909+1110`.

    The entry of the newest release that is not newer than this build decides; with a `+n`, on that release
    itself, by the build revision. Raises KeyError for a label that is no Windows version.
    """
    entries = [match for part in since.split(" / ") if (match := _SINCE.fullmatch(part))]
    first = {_NUMBERS[entry["release"]]: int(entry["revision"] or 0) for entry in entries}
    reached = [each for each in first if each <= number]
    if not reached:
        return False
    nearest = max(reached)
    return not _same_servicing(nearest, number) or revision >= first[nearest]


def _same_servicing(one: int, other: int) -> bool:
    return one == other or any({one, other} <= builds for builds in _ONE_SERVICING)
