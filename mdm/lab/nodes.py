"""The nodes a virtual device has at a moment: made from what its Windows is, never stored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from csp.locuri import LocURI
from csp.policy import POLICIES
from csp.trees import node_at
from mdm.lab.windows_state import iso_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mdm.lab.versions import Build
    from mdm.lab.windows import Windows

__all__ = ["Branch", "Leaf", "fact_leaf", "put", "root"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A node with a value."""

    value: str
    format: str = "chr"


Branch: TypeAlias = "dict[str, Branch | Leaf]"
"""An interior node: its children by name, unescaped."""


def fact_leaf(uri: str, value: str) -> Leaf:
    """A read-only leaf with the Format its DDF gives it; chr for what no DDF knows."""
    return Leaf(value, _format_of(uri))


@cache
def _format_of(uri: str) -> str:
    node = node_at(LocURI.parse(uri))
    return "chr" if node is None else node.format


def put(branch: Branch, names: Sequence[str], leaf: Leaf) -> None:
    """Put a leaf at this path below the branch; what is missing on the way is made."""
    for name in names[:-1]:
        below = branch.setdefault(name, {})
        assert isinstance(below, dict), names  # noqa: S101 - no leaf of ours stands below another
        branch = below
    branch[names[-1]] = leaf


def root(windows: Windows, build: Build, facts: Mapping[tuple[str, ...], Leaf], client: Branch) -> Branch:
    """All nodes as they are now; `facts` are further leaves by the names on their path, `client` is DMClient."""
    tree: Branch = {}
    config: Branch = {
        name: Leaf(value, POLICIES[name].format) for name, value in windows.state.policies.items()
    }
    result: Branch = {}
    for name, policy in POLICIES.items():
        effective = windows.policy(name) or policy.default
        if effective is not None and build.has(policy.since):
            result[name] = Leaf(effective, policy.format)
    tree["Vendor"] = {
        "MSFT": {
            "DMClient": client,
            "Policy": {"Config": {"Update": config}, "Result": {"Update": result}},
            "Update": _update(windows, build),
        }
    }
    for segments, fact in facts.items():
        put(tree, segments, fact)
    return tree


def _update(windows: Windows, build: Build) -> Branch:
    state = windows.state

    def revision(number: int) -> Branch:
        return {"RevisionNumber": _int(number)} if build.reports_revisions else {}

    deferred = (windows.policy("DeferFeatureUpdatesPeriodInDays") or "0") != "0"
    update: Branch = {
        "ApprovedUpdates": {
            guid: {"ApprovedTime": Leaf(at, "time")} for guid, at in sorted(state.approved.items())
        },
        "FailedUpdates": {
            job.update.update_id: {
                "HResult": _int(_signed(job.hresult or 0)),
                build.failure_leaf: _int(job.failure or 0),
                **revision(job.update.revision_number),
            }
            for job in windows.failed()
        },
        "InstalledUpdates": {
            job.update.update_id: revision(job.update.revision_number) for job in windows.installed()
        },
        "InstallableUpdates": {
            job.update.update_id: {
                "Type": _int(job.update.type),
                "RevisionNumber": _int(job.update.revision_number),
            }
            for job in windows.installable()
        },
        "PendingRebootUpdates": {
            job.update.update_id: {
                "InstalledTime": Leaf(iso_time(job.installed_at) if job.installed_at else "0", "time"),
                **revision(job.update.revision_number),
            }
            for job in windows.pending_reboot()
        },
        "LastSuccessfulScanTime": Leaf(iso_time(state.last_scan) if state.last_scan else "0", "time"),
        "DeferUpgrade": Leaf("true" if deferred else "false", "bool"),
    }
    if build.has("1803"):
        update["Rollback"] = {
            "QualityUpdate": Leaf("", "null"),
            "FeatureUpdate": Leaf("", "null"),
            "QualityUpdateStatus": Leaf(state.rollbacks.get("quality", "")),
            "FeatureUpdateStatus": Leaf(state.rollbacks.get("feature", "")),
        }
    return update


def _int(value: int) -> Leaf:
    return Leaf(str(value), "int")


def _signed(hresult: int) -> int:
    """Format int has 32 bits with a sign."""
    return hresult - (1 << 32) if hresult >= 1 << 31 else hresult
