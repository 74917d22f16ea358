"""The package's errors form one tree, and their text is safe to log."""

from __future__ import annotations

import pytest

from csp.errors import CspError, InvalidGuid, InvalidLocURI, InvalidValue, quoted


@pytest.mark.parametrize("kind", [InvalidGuid, InvalidLocURI, InvalidValue])
def test_every_error_is_a_csp_error_with_its_sentence(kind: type[CspError]) -> None:
    """One except clause catches all, and `detail` is what str() shows."""
    error = kind("It is wrong.")
    assert isinstance(error, CspError)
    assert error.detail == str(error) == "It is wrong."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abc", "'abc'"),
        ("", "''"),
        ("a\nb", r"'a\nb'"),
        ("x" * 120, "'" + "x" * 120 + "'"),
        ("x" * 121, "'" + "x" * 119 + "…'"),
    ],
)
def test_quoted_text_is_short_and_on_one_line(text: str, expected: str) -> None:
    """Input in a message is cut after 120 characters and cannot forge a log line."""
    assert quoted(text) == expected
