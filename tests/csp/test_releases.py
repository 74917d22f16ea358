"""Windows versions have their builds, and `since` becomes what a description says."""

from __future__ import annotations

import pytest

from csp.releases import RELEASES, is_in, os_builds
from csp.trees import TREES


@pytest.mark.parametrize(
    ("since", "builds"),
    [
        ("1507", "10.0.10240"),
        ("W11 24H2", "10.0.26100"),
        ("2004+1202 / Server 2022+371 / W11 21H2", "10.0.19041.1202, 10.0.20348.371, 10.0.22000"),
        ("unreleased / W11 22H2+3235", "99.9.99999, 10.0.22621.3235"),
    ],
)
def test_since_names_builds(since: str, builds: str) -> None:
    """One version, several, and those with a build revision, in their order."""
    assert os_builds(since) == builds


def test_an_unknown_version_is_an_error_of_ours() -> None:
    """A label that nobody listed does not become a description, nor a verdict."""
    with pytest.raises(KeyError):
        os_builds("22H1")
    with pytest.raises(KeyError):
        is_in("22H1", 26100, 1)


@pytest.mark.parametrize(
    ("since", "number", "revision", "has"),
    [
        ("1607", 14393, 0, True),
        ("1703", 14393, 9999, False),
        ("1607", 26100, 1, True),
        # a revision counts on the release itself
        ("1809+1490", 17763, 1489, False),
        ("1809+1490", 17763, 1490, True),
        # and on releases that share their cumulative updates with it
        ("2004+546", 19045, 545, False),
        ("2004+546", 19045, 546, True),
        ("W11 21H2 / 2004+546 / 1909+1110 / 1903+1110", 18363, 1109, False),
        ("W11 21H2 / 2004+546 / 1909+1110 / 1903+1110", 18363, 1110, True),
        # a later release has it from its beginning
        ("21H2+3757", 22631, 0, True),
        ("W11 21H2 / 2004+546 / 1809+1490", 17134, 9999, False),
        ("unreleased", 26100, 9999, False),
    ],
)
def test_the_nearest_earlier_release_decides(since: str, number: int, revision: int, *, has: bool) -> None:
    """The newest release not newer than the build, and on it the revision."""
    assert is_in(since, number, revision) is has


def test_versions_are_in_the_order_of_their_builds() -> None:
    """No build stands twice, and a later line is a later Windows."""
    builds = [tuple(map(int, build.split("."))) for build in RELEASES.values()]
    assert builds == sorted(set(builds))


def test_every_row_of_every_tree_has_its_builds() -> None:
    """No label in the trees is missing here."""
    assert all(os_builds(node.since) for tree in TREES.values() for node in tree)
