"""The same code means different things to different commands on different nodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp.policy import policy_uri, result_uri
from csp.status import Outcome, Target, outcome, target_of
from syncml.exchange import Request

ID = "a317dafe-baf4-453f-b232-a7075efae36e"
POLICY = policy_uri("BranchReadinessLevel")
RESULT = result_uri("BranchReadinessLevel")
APPROVAL = f"./Vendor/MSFT/Update/ApprovedUpdates/%7b{ID}%7d"
LISTING = "./Vendor/MSFT/Update/InstallableUpdates?list=StructData"
ENTRY = f"./Vendor/MSFT/Update/InstalledUpdates/%7b{ID}%7d?list=StructData"
ROLLBACK = "./Vendor/MSFT/Update/Rollback/QualityUpdate"
OTHER = "./DevDetail/SwV"


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        (POLICY, Target.POLICY),
        (RESULT, Target.POLICY),
        ("./Vendor/MSFT/Policy/Config/Update/NotYetKnown", Target.POLICY),
        ("./vendor/msft/policy/config/update/x", Target.POLICY),
        ("./Vendor/MSFT/Policy/Config/Update", Target.OTHER),
        ("./Vendor/MSFT/Policy/Config/System/AllowTelemetry", Target.OTHER),
        (APPROVAL, Target.GUID_NODE),
        (ENTRY, Target.GUID_NODE),
        (f"./Vendor/MSFT/Update/FailedUpdates/{ID}/HResult", Target.GUID_NODE),
        (LISTING, Target.PERMANENT),
        (ROLLBACK, Target.PERMANENT),
        ("./Vendor/MSFT/Update", Target.PERMANENT),
        (OTHER, Target.OTHER),
        ("./DevDetail", Target.OTHER),
        ("not a LocURI", Target.OTHER),
    ],
)
def test_addresses_fall_into_kinds(uri: str, target: Target) -> None:
    """Policies by their area, the Update CSP by its tree, the rest is other."""
    assert target_of(uri) is target


CASES = [
    # approving
    ("Add", APPROVAL, 200, Outcome.DONE),
    ("Add", APPROVAL, 201, Outcome.DONE),
    ("Add", APPROVAL, 418, Outcome.ALREADY_DONE),
    ("Add", APPROVAL, 404, Outcome.UNSUPPORTED),
    ("Add", APPROVAL, 405, Outcome.UNSUPPORTED),
    ("Add", APPROVAL, 425, Outcome.REFUSED),
    ("Add", APPROVAL, 500, Outcome.RETRY),
    ("Add", APPROVAL, None, Outcome.UNKNOWN),
    # revoking
    ("Delete", APPROVAL, 200, Outcome.DONE),
    ("Delete", APPROVAL, 404, Outcome.ALREADY_DONE),
    ("Delete", APPROVAL, 405, Outcome.UNSUPPORTED),
    ("Delete", APPROVAL, 425, Outcome.UNSUPPORTED),
    ("Delete", APPROVAL, 418, Outcome.REFUSED),
    # policies
    ("Replace", POLICY, 200, Outcome.DONE),
    ("Replace", POLICY, 404, Outcome.UNSUPPORTED),
    ("Replace", POLICY, 405, Outcome.UNSUPPORTED),
    ("Replace", POLICY, 406, Outcome.UNSUPPORTED),
    ("Replace", POLICY, 415, Outcome.REFUSED),
    ("Replace", POLICY, 425, Outcome.REFUSED),
    ("Replace", POLICY, 500, Outcome.RETRY),
    ("Add", POLICY, 404, Outcome.UNSUPPORTED),
    ("Add", POLICY, 418, Outcome.ALREADY_DONE),
    ("Delete", POLICY, 404, Outcome.ALREADY_DONE),
    ("Delete", POLICY, 405, Outcome.UNSUPPORTED),
    ("Get", POLICY, 404, Outcome.DONE),
    ("Get", RESULT, 404, Outcome.DONE),
    ("Get", POLICY, 405, Outcome.UNSUPPORTED),
    # reading
    ("Get", LISTING, 200, Outcome.DONE),
    ("Get", LISTING, 404, Outcome.UNSUPPORTED),
    ("Get", LISTING, 406, Outcome.UNSUPPORTED),
    ("Get", LISTING, 500, Outcome.RETRY),
    ("Get", ENTRY, 404, Outcome.DONE),
    ("Get", OTHER, 404, Outcome.REFUSED),
    ("Delete", OTHER, 404, Outcome.ALREADY_DONE),
    ("Replace", OTHER, 404, Outcome.REFUSED),
    # rolling back
    ("Exec", ROLLBACK, 200, Outcome.DONE),
    ("Exec", ROLLBACK, 202, Outcome.DONE),
    ("Exec", ROLLBACK, 404, Outcome.UNSUPPORTED),
    ("Exec", ROLLBACK, 405, Outcome.UNSUPPORTED),
    # every target
    ("Add", OTHER, 101, Outcome.UNKNOWN),
    ("Add", OTHER, 212, Outcome.DONE),
    ("Add", OTHER, 213, Outcome.UNKNOWN),
    ("Add", OTHER, 214, Outcome.RETRY),
    ("Add", OTHER, 215, Outcome.RETRY),
    ("Add", OTHER, 216, Outcome.RETRY),
    ("Add", OTHER, 301, Outcome.REFUSED),
    ("Add", OTHER, 400, Outcome.REFUSED),
    ("Add", OTHER, 401, Outcome.RETRY),
    ("Add", OTHER, 407, Outcome.RETRY),
    ("Add", OTHER, 408, Outcome.RETRY),
    ("Add", OTHER, 409, Outcome.RETRY),
    ("Add", OTHER, 413, Outcome.REFUSED),
    ("Add", OTHER, 417, Outcome.RETRY),
    ("Add", OTHER, 420, Outcome.RETRY),
    ("Add", OTHER, 501, Outcome.UNSUPPORTED),
    ("Add", OTHER, 503, Outcome.RETRY),
    ("Add", OTHER, 505, Outcome.REFUSED),
    ("Add", OTHER, 507, Outcome.RETRY),
    ("Add", OTHER, 513, Outcome.REFUSED),
    ("Add", OTHER, 517, Outcome.REFUSED),
    # codes no specification lists
    ("Add", OTHER, 0, Outcome.UNKNOWN),
    ("Add", OTHER, 299, Outcome.DONE),
    ("Add", OTHER, 599, Outcome.RETRY),
    ("Add", OTHER, 1399, Outcome.REFUSED),
]


@pytest.mark.parametrize(("verb", "uri", "status", "expected"), CASES)
def test_a_status_means_what_the_table_says(
    verb: str, uri: str, status: int | None, expected: Outcome
) -> None:
    """Command, target and code together decide."""
    assert outcome(Request(verb, uri), status) is expected


@given(
    st.sampled_from(["Add", "Delete", "Exec", "Get", "Replace"]),
    st.sampled_from([POLICY, APPROVAL, LISTING, ENTRY, ROLLBACK, OTHER, ""]),
    st.integers(),
)
def test_every_status_has_an_outcome(verb: str, uri: str, status: int) -> None:
    """No number a device can send raises, and only 2xx and the named exceptions count as done."""
    result = outcome(Request(verb, uri), status)
    assert isinstance(result, Outcome)
    if result is Outcome.DONE:
        assert 200 <= status < 300 or (verb, status) == ("Get", 404)
    if result is Outcome.ALREADY_DONE:
        assert (verb, status) in {("Add", 418), ("Delete", 404)}
