"""Values of policies: numbers and texts in, text kept, and every wrong one named with its place."""

from __future__ import annotations

from typing import Any

import pytest

from mdm.errors import Invalid
from mdm.policies.presets import PRESETS, Preset
from mdm.policies.values import read_settings, shown, shown_settings


def test_numbers_become_the_text_that_is_sent() -> None:
    """By name; text stays as it is."""
    given = {"TargetReleaseVersion": "24H2", "ProductVersion": "Windows 11", "AllowAutoUpdate": 2}
    settings = read_settings(given)
    assert list(settings.items()) == [
        ("AllowAutoUpdate", "2"),
        ("ProductVersion", "Windows 11"),
        ("TargetReleaseVersion", "24H2"),
    ]
    assert shown_settings(settings) == given
    assert read_settings({}) == {}


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("NoSuchPolicy", 1, "unknown_policy"),
        ("allowautoupdate", 1, "unknown_policy"),
        ("", 1, "unknown_policy"),
        ("AllowAutoUpdate", "2", "wrong_type"),
        ("AllowAutoUpdate", 2.0, "wrong_type"),
        ("AllowAutoUpdate", True, "wrong_type"),
        ("AllowAutoUpdate", None, "wrong_type"),
        ("AllowAutoUpdate", [2], "wrong_type"),
        ("AllowAutoUpdate", {"value": 2}, "wrong_type"),
        ("ProductVersion", 11, "wrong_type"),
        ("AllowAutoUpdate", 6, "invalid_value"),
        ("AllowAutoUpdate", -1, "invalid_value"),
        pytest.param("AllowAutoUpdate", 10**5000, "invalid_value", id="a number without end"),
        ("DeferQualityUpdatesPeriodInDays", 31, "invalid_value"),
        ("ProductVersion", "", "invalid_value"),
        ("ProductVersion", " Windows 11", "invalid_value"),
        ("ProductVersion", "Windows\x0011", "invalid_value"),
        ("ProductVersion", "Windows\n11", "invalid_value"),
        ("ProductVersion", "\ud800", "invalid_value"),
        ("ProductVersion", "W" * 501, "too_long"),
        ("PauseQualityUpdatesStartTime", "2026-02-30", "invalid_value"),
        ("UpdateServiceUrl", "CorpWSUS", "invalid_value"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: Any, code: str) -> None:
    """With a pointer to it, and not before it is right alone is it looked at beside the others."""
    with pytest.raises(Invalid) as refused:
        read_settings({name: value, "DeferQualityUpdatesPeriodInDays": 3} | {name: value})
    (error,) = refused.value.errors
    assert (error.pointer, error.code) == (f"/settings/{name}", code)
    assert error.detail.endswith(".")


def test_a_name_is_a_pointer_only_in_its_escaped_form() -> None:
    """RFC 6901; and a long one is cut."""
    with pytest.raises(Invalid) as refused:
        read_settings({"a/b~c": 1, "x" * 5000: 1})
    assert [error.pointer for error in refused.value.errors] == [
        "/settings/a~1b~0c",
        "/settings/" + "x" * 100,
    ]


def test_at_most_twenty_are_named() -> None:
    """A body full of nonsense gets a readable answer."""
    with pytest.raises(Invalid) as refused:
        read_settings({f"P{number}": 1 for number in range(100)})
    assert len(refused.value.errors) == 20


def test_values_that_do_not_go_together_are_refused() -> None:
    """One sentence for each way."""
    with pytest.raises(Invalid) as refused:
        read_settings({"ScheduledInstallDay": 1, "TargetReleaseVersion": "24H2"})
    assert [(error.pointer, error.code, error.detail) for error in refused.value.errors] == [
        ("/settings", "dependency", "ScheduledInstallDay has no effect unless AllowAutoUpdate is 3 or 4."),
        ("/settings", "dependency", "TargetReleaseVersion has no effect without ProductVersion."),
    ]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("AllowAutoUpdate", "2", 2),
        ("AllowAutoUpdate", "two", "two"),
        ("AllowAutoUpdate", "\u0662", "\u0662"),
        ("AllowAutoUpdate", "9" * 600, "9" * 600),
        ("ProductVersion", "11", "11"),
        ("NotYetKnown", "1", "1"),
    ],
)
def test_what_a_device_says_is_shown_as_far_as_it_is_a_number(
    name: str, text: str, expected: int | str
) -> None:
    """A device may say anything."""
    assert shown(name, text) == expected


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_every_preset_is_right(preset: Preset) -> None:
    """Alone and as a set, and it says what it is for."""
    assert shown_settings(read_settings(preset.settings)) == dict(sorted(preset.settings.items()))
    assert preset.description.endswith(".")


def test_there_are_the_presets_that_are_promised() -> None:
    """In the order of a roll-out."""
    assert [preset.name for preset in PRESETS] == ["test", "pilot", "broad", "kiosk", "server"]
