"""Windows versions: what a build has."""

from __future__ import annotations

import pytest

from csp.policy import POLICIES
from csp.tree import UPDATE_TREE
from mdm.lab.versions import Build


@pytest.mark.parametrize(
    ("text", "build"),
    [
        ("10.0.26100.4652", Build(26100, 4652)),
        ("26100.4652", Build(26100, 4652)),
        ("14393", Build(14393, 0)),
    ],
)
def test_every_form_is_read_and_one_is_written(text: str, build: Build) -> None:
    """A build is read in the forms the catalogue takes and written as DevDetail shows it."""
    assert Build.parse(text) == build
    assert Build.parse(str(build)) == build


@pytest.mark.parametrize("text", ["", "11", "10.0.x", "10.0.26100.4652.1", "6.1.7601"])
def test_other_text_is_no_build(text: str) -> None:
    """What is not a Windows 10 or 11 build raises ValueError."""
    with pytest.raises(ValueError, match="not a Windows build"):
        Build.parse(text)


@pytest.mark.parametrize(
    ("build", "since", "has"),
    [
        ("14393", "1607", True),
        ("14393", "1703", False),
        ("26100", "1607", True),
        # a revision counts on the release itself
        ("17763.1489", "1809+1490", False),
        ("17763.1490", "1809+1490", True),
        # and on releases that share their cumulative updates with it
        ("19045.545", "2004+546", False),
        ("19045.546", "2004+546", True),
        ("18363.1109", "W11 21H2 / 2004+546 / 1909+1110 / 1903+1110", False),
        ("18363.1110", "W11 21H2 / 2004+546 / 1909+1110 / 1903+1110", True),
        # a later release has it from its beginning
        ("22631.0", "21H2+3757", True),
        ("19044.3756", "21H2+3757", False),
        ("17134", "W11 21H2 / 2004+546 / 1809+1490", False),
        ("19045", "W11 22H2", False),
    ],
)
def test_the_nearest_earlier_release_decides(build: str, since: str, *, has: bool) -> None:
    """`since` names releases and build revisions; the newest one not newer than the build decides."""
    assert Build.parse(build).has(since) is has


def test_every_label_of_the_tables_is_known() -> None:
    """No policy and no node of the CSP tables has a label the lab cannot read."""
    newest, oldest = Build(26200, 9999), Build(10240)
    labels = {policy.since for policy in POLICIES.values()} | {node.since for node in UPDATE_TREE}
    assert {label for label in labels if not newest.has(label)} <= {"unreleased"}
    assert {label for label in labels if oldest.has(label)} == {"1507"}


def test_the_edition_is_named_as_windows_does() -> None:
    """Windows 11 begins with a build, not with another version number."""
    names = [Build(number).edition for number in (19045, 22000, 26100)]
    assert names == ["Windows 10 Enterprise", "Windows 11 Enterprise", "Windows 11 Enterprise"]


def test_old_builds_say_less() -> None:
    """Before 1703 there are no RevisionNumber leaves, and before Windows 11 the failure leaf is Status."""
    assert [Build(number).reports_revisions for number in (14393, 15063)] == [False, True]
    assert [Build(number).failure_leaf for number in (19045, 22000)] == ["Status", "State"]
