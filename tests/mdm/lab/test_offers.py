"""What a virtual device is offered."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from csp.classifications import DEFINITION_UPDATES
from mdm.lab.generate import build_catalogue
from mdm.lab.offers import offers_for, preinstalled_for
from mdm.lab.products import ALL_BUILDS
from mdm.lab.versions import Build

CATALOGUE = build_catalogue(1, datetime(2026, 11, 21, 12, 0, tzinfo=UTC))
OLD = Build.parse("10.0.14393.7606")


def test_a_build_of_the_catalogue_is_offered_what_it_says() -> None:
    """The catalogue decides for the builds it knows."""
    build = Build(26100, 4652)
    assert offers_for(CATALOGUE, build) == CATALOGUE.for_device(str(build))


def test_an_older_build_is_offered_what_every_windows_is() -> None:
    """Definition updates and an update with licence terms, no cumulative update."""
    offers = offers_for(CATALOGUE, OLD)
    assert any(update.classification_id == DEFINITION_UPDATES for update in offers)
    assert any(update.eula_id is not None for update in offers)
    for number in ALL_BUILDS:
        assert set(offers) <= set(offers_for(CATALOGUE, Build(number)))
    assert CATALOGUE.for_device(str(OLD)) == ()


@pytest.mark.parametrize("build", [Build(26100), Build(19045), OLD])
def test_devices_come_with_the_predecessors(build: Build) -> None:
    """What is preinstalled is known to the upstream and superseded by what is offered."""
    offers = offers_for(CATALOGUE, build)
    preinstalled = preinstalled_for(CATALOGUE, build)
    assert preinstalled
    superseded = {update_id for update in offers for update_id in update.supersedes}
    assert {update.update_id for update in preinstalled} <= superseded
    assert not set(preinstalled) & set(offers)
