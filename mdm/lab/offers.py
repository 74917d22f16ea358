"""What of a generated catalogue a virtual device is offered, and what of it the device comes with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mdm.lab.products import ALL_BUILDS
from mdm.lab.versions import Build

if TYPE_CHECKING:
    from mdm.lab.catalogue import Catalogue, OfferedUpdate

__all__ = ["offers_for", "preinstalled_for"]


def offers_for(catalogue: Catalogue, build: Build) -> tuple[OfferedUpdate, ...]:
    """What a scan finds on this build.

    A build the catalogue has no cumulative updates for, because it is too old, is still offered what every
    Windows is: antimalware definitions, the removal tool.
    """
    if build.number in ALL_BUILDS:
        return catalogue.for_device(str(build))
    by_build = [
        {update.update_id: update for update in catalogue.for_device(str(Build(number)))}
        for number in sorted(ALL_BUILDS)
    ]
    everywhere = set.intersection(*map(set, by_build))
    return tuple(update for update_id, update in by_build[0].items() if update_id in everywhere)


def preinstalled_for(catalogue: Catalogue, build: Build) -> tuple[OfferedUpdate, ...]:
    """The direct predecessor of each offered update, as far as the catalogue still has it."""
    known = {update.update_id: update for update in catalogue.visible()}
    found: dict[str, OfferedUpdate] = {}
    for offer in offers_for(catalogue, build):
        earlier = [known[update_id] for update_id in offer.supersedes if update_id in known]
        found.update((update.update_id, update) for update in earlier[-1:])
    return tuple(found.values())
