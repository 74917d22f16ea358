"""A catalogue like Microsoft's, made from a seed: the same seed and day give the same ids and the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mdm.lab.catalogue import Catalogue, OfferedUpdate
from mdm.lab.dice import Dice
from mdm.lab.documents import document
from mdm.lab.releases.categories import configuration
from mdm.lab.releases.defender import defender_updates
from mdm.lab.releases.drivers import driver_updates
from mdm.lab.releases.numbering import patch_tuesdays
from mdm.lab.releases.office import office_updates
from mdm.lab.releases.windows_cumulative import cumulative_updates
from mdm.lab.releases.windows_extras import windows_extras

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Catalogue", "OfferedUpdate", "build_catalogue"]

_MONTHS = 8
_FIRST_YEAR = 2026


def build_catalogue(seed: int, now: datetime) -> Catalogue:
    """The catalogue as it stands at `now`: eight Patch Tuesdays and what came between.

    As `now` moves on, updates join and leave, but a revision that is in both catalogues is the same, byte for
    byte. Raises ValueError for a `now` before 2026: numbering needs some months of history.
    """
    if now.year < _FIRST_YEAR:
        raise ValueError(
            f"no catalogue can be generated for {now:%Y-%m-%d}: the earliest is {_FIRST_YEAR}-01-01"
        )
    dice = Dice(seed)
    days = patch_tuesdays(now, _MONTHS)
    revisions = [
        *configuration(dice),
        *cumulative_updates(dice, days),
        *windows_extras(dice, days),
        *defender_updates(dice, days, now),
        *office_updates(dice, days),
        *driver_updates(dice, days),
    ]
    return Catalogue(tuple(revisions), tuple(document(revision) for revision in revisions))
