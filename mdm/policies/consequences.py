"""What taking a policy back does not undo: facts about Windows that a preview tells before a change.

Sources: Policy CSP Update (2024-09-27); update-csp 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mdm.policies.merge import REQUIRE_UPDATE_APPROVAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["irreversible"]

_INSTALLED: Final = "What is installed meanwhile stays when the value is changed back."

_NOT_UNDONE: Final[Mapping[str, str]] = {
    "AllowMUUpdateService": "A later 0 does not stop the offer of other Microsoft products once 1 has begun it.",
    "BranchReadinessLevel": "A device that has moved to a preview build leaves it only by a new installation or its "
    "next release.",
    "DeferFeatureUpdatesPeriodInDays": _INSTALLED,
    "DeferQualityUpdatesPeriodInDays": _INSTALLED,
    "DisableWUfBSafeguards": "A device that installs a release it is held back from keeps it; Windows clears the "
    "policy after each feature update.",
    "ManagePreviewBuilds": "A device that has moved to a preview build leaves it only by a new installation or its "
    "next release.",
    "ProductVersion": "Setting it accepts the product's licence terms, and a device that has moved does not move back.",
    "TargetReleaseVersion": "A device that has moved to the release does not move back.",
    "PauseFeatureUpdatesStartTime": "When the pause ends everything withheld is offered at once.",
    "PauseQualityUpdatesStartTime": "When the pause ends everything withheld is offered at once.",
    REQUIRE_UPDATE_APPROVAL: "Without the value 1 a device installs whatever applies, approved or not, and keeps it.",
    "ConfigureFeatureUpdateUninstallPeriod": "A shorter period deletes at once what a device needs to go back.",
    "UpdateServiceUrl": "What the other source has offered and the device has installed stays.",
}


def irreversible(names: Iterable[str]) -> dict[str, str]:
    """One sentence for each of these policies whose effect stays when its value goes, by name."""
    return {name: _NOT_UNDONE[name] for name in sorted(set(names)) if name in _NOT_UNDONE}
