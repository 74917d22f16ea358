"""Status codes: their numbers, and which of them mean that a command took effect."""

from __future__ import annotations

import pytest

from syncml.status import StatusCode, is_success


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (200, "OK"),
        (202, "ACCEPTED_FOR_PROCESSING"),
        (212, "AUTHENTICATION_ACCEPTED"),
        (213, "CHUNKED_ITEM_ACCEPTED"),
        (215, "NOT_EXECUTED"),
        (216, "ATOMIC_ROLLED_BACK"),
        (400, "BAD_REQUEST"),
        (401, "INVALID_CREDENTIALS"),
        (404, "NOT_FOUND"),
        (405, "COMMAND_NOT_ALLOWED"),
        (406, "OPTIONAL_FEATURE_NOT_SUPPORTED"),
        (407, "MISSING_CREDENTIALS"),
        (413, "REQUEST_ENTITY_TOO_LARGE"),
        (415, "UNSUPPORTED_MEDIA_TYPE_OR_FORMAT"),
        (418, "ALREADY_EXISTS"),
        (424, "SIZE_MISMATCH"),
        (500, "COMMAND_FAILED"),
        (507, "ATOMIC_FAILED"),
        (516, "ATOMIC_ROLL_BACK_FAILED"),
        (517, "ATOMIC_RESPONSE_TOO_LARGE"),
    ],
)
def test_a_code_has_its_name(code: int, name: str) -> None:
    """The codes a session of Windows uses carry the names of RepPro chapter 10."""
    assert StatusCode(code).name == name


def test_every_code_is_in_a_class_of_the_specification() -> None:
    """1xx informs, 2xx succeeds, 4xx and 5xx fail; 3xx redirects are not used by DM."""
    assert {code // 100 for code in StatusCode} == {1, 2, 4, 5}


@pytest.mark.parametrize("code", [200, 201, 202, 206, 212, 299])
def test_a_command_that_took_effect(code: int) -> None:
    """2xx is success, also where the number is not known."""
    assert is_success(code)


@pytest.mark.parametrize(
    "code", [-1, 0, 101, 199, 213, 214, 215, 216, 300, 304, 400, 404, 418, 500, 507, 600]
)
def test_a_command_that_did_not(code: int) -> None:
    """Nothing else is, and 213 to 216 acknowledge without applying."""
    assert not is_success(code)
