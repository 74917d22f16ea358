"""Windows builds as text."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mdm.devices.os_build import OsBuild


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.26100.4652", OsBuild(26100, 4652)),
        ("26100.4652", OsBuild(26100, 4652)),
        ("10.0.26100", OsBuild(26100)),
        ("26100", OsBuild(26100)),
        ("10.0.26100.0", OsBuild(26100, 0)),
        ("10.0", None),
        ("11.0.26100.1", None),
        ("10.0.26100.4652.1", None),
        ("10.0.26100.", None),
        ("261001234", None),
        ("٢٦١٠٠", None),
        (" 26100", None),
        ("", None),
    ],
)
def test_a_build_is_read_in_each_of_its_forms(text: str, expected: OsBuild | None) -> None:
    """With and without `10.0.` and the revision; whatever else is no build."""
    assert OsBuild.read(text) == expected


def test_builds_are_ordered_by_number_and_revision() -> None:
    """As numbers, not as text; without a revision a build comes before all of its revisions."""
    builds = [OsBuild(9600), OsBuild(19045, 3), OsBuild(26100), OsBuild(26100, 9), OsBuild(26100, 10)]
    for one, next_one in pairwise(builds):
        assert one.order < next_one.order


def test_a_build_without_revision_covers_all_of_its_revisions() -> None:
    """One with a revision covers only itself."""
    assert OsBuild(26100).covers(OsBuild(26100, 4652))
    assert OsBuild(26100, 4652).covers(OsBuild(26100, 4652))
    assert not OsBuild(26100, 4652).covers(OsBuild(26100, 4653))
    assert not OsBuild(26100, 4652).covers(OsBuild(26100))
    assert not OsBuild(2610).covers(OsBuild(26100))
