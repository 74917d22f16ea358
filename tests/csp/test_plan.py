"""A plan takes a device to what is desired, adds nothing else, and is empty once it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp.errors import InvalidGuid, InvalidValue
from csp.guid import parse_guid
from csp.locuri import LocURI
from csp.plan import Desired, Reported, plan
from csp.policy import POLICIES, policy_uri
from syncml.exchange import Request

if TYPE_CHECKING:
    from random import Random

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"
DEFINITIONS = "e0789628-ce08-4437-be74-2495b842f43b"


def add(guid: str) -> Request:
    """The Add that approves a GUID."""
    return Request("Add", f"./Vendor/MSFT/Update/ApprovedUpdates/%7b{guid}%7d", format="node")


def replace(name: str, value: str, wire_format: str = "int") -> Request:
    """The Replace that sets a policy."""
    return Request("Replace", policy_uri(name), format=wire_format, type="text/plain", data=value)


def reset(name: str) -> Request:
    """The Delete that resets a policy."""
    return Request("Delete", policy_uri(name))


@pytest.mark.parametrize(
    ("desired", "reported", "expected"),
    [
        (Desired(), Reported(), ()),
        (Desired(), Reported(installable=frozenset({ONE}), approved=frozenset({TWO})), ()),
        # an update needs to be installable and not approved
        (Desired(updates=frozenset({ONE})), Reported(), ()),
        (Desired(updates=frozenset({ONE})), Reported(installable=frozenset({ONE})), (add(ONE),)),
        (
            Desired(updates=frozenset({ONE})),
            Reported(installable=frozenset({ONE}), approved=frozenset({ONE})),
            (),
        ),
        # a classification only needs not to be approved
        (Desired(classifications=frozenset({DEFINITIONS})), Reported(), (add(DEFINITIONS),)),
        (
            Desired(classifications=frozenset({DEFINITIONS})),
            Reported(approved=frozenset({DEFINITIONS})),
            (),
        ),
        # GUIDs are compared as GUIDs
        (
            Desired(updates=frozenset({"{" + DEFINITIONS.upper() + "}", ONE})),
            Reported(installable=frozenset({f"%7b{DEFINITIONS}%7d", ONE.upper()}), approved=frozenset({ONE})),
            (add(DEFINITIONS),),
        ),
        # one GUID desired both ways is sent once
        (
            Desired(updates=frozenset({ONE}), classifications=frozenset({ONE})),
            Reported(installable=frozenset({ONE})),
            (add(ONE),),
        ),
        # policies
        (
            Desired(policies={"RequireUpdateApproval": "1"}),
            Reported(),
            (replace("RequireUpdateApproval", "1"),),
        ),
        (
            Desired(policies={"RequireUpdateApproval": "1"}),
            Reported(policies={"RequireUpdateApproval": "0"}),
            (replace("RequireUpdateApproval", "1"),),
        ),
        (
            Desired(policies={"RequireUpdateApproval": "1"}),
            Reported(policies={"RequireUpdateApproval": "1"}),
            (),
        ),
        (
            Desired(policies={"RequireUpdateApproval": "1"}),
            Reported(unsupported=frozenset({"RequireUpdateApproval"})),
            (),
        ),
        # one value, however the device writes it
        (
            Desired(policies={"RequireUpdateApproval": "1"}),
            Reported(policies={"RequireUpdateApproval": "01"}),
            (),
        ),
        # a reset, unless the policy is to have a value
        (
            Desired(unset=frozenset({"AllowAutoUpdate"})),
            Reported(policies={"AllowAutoUpdate": "1"}),
            (reset("AllowAutoUpdate"),),
        ),
        (
            Desired(policies={"AllowAutoUpdate": "2"}, unset=frozenset({"AllowAutoUpdate"})),
            Reported(policies={"AllowAutoUpdate": "2"}),
            (),
        ),
        # the whole order
        (
            Desired(
                updates=frozenset({TWO, ONE}),
                classifications=frozenset({DEFINITIONS}),
                policies={
                    "TargetReleaseVersion": "22H2",
                    "AllowAutoUpdate": "2",
                    "ProductVersion": "Windows 11",
                },
                unset=frozenset({"ScheduledInstallTime", "ActiveHoursEnd"}),
            ),
            Reported(installable=frozenset({ONE, TWO})),
            (
                replace("AllowAutoUpdate", "2"),
                replace("ProductVersion", "Windows 11", "chr"),
                replace("TargetReleaseVersion", "22H2", "chr"),
                reset("ActiveHoursEnd"),
                reset("ScheduledInstallTime"),
                add(DEFINITIONS),
                add(ONE),
                add(TWO),
            ),
        ),
    ],
)
def test_the_plan_is_the_difference(
    desired: Desired, reported: Reported, expected: tuple[Request, ...]
) -> None:
    """What is wanted and not there yet, policies before classifications before updates."""
    assert plan(desired, reported) == expected


def test_what_cannot_be_named_is_refused() -> None:
    """Unknown policies and broken GUIDs are errors of the caller, raised before anything is sent."""
    with pytest.raises(InvalidValue):
        plan(Desired(policies={"NoSuchPolicy": "1"}), Reported())
    with pytest.raises(InvalidValue):
        plan(Desired(unset=frozenset({"NoSuchPolicy"})), Reported())
    with pytest.raises(InvalidGuid):
        plan(Desired(updates=frozenset({"x"})), Reported())


# A small pool, so that the sets overlap.
guid_sets = st.frozensets(st.sampled_from([f"{n:08x}-0000-4000-8000-000000000000" for n in range(12)]))
names = st.sampled_from(sorted(POLICIES)[:6])
settings = st.dictionaries(names, st.sampled_from(["0", "1", "2"]))
desires = st.builds(
    Desired,
    updates=guid_sets,
    classifications=guid_sets,
    policies=settings,
)
resets = st.builds(Desired, policies=settings, unset=st.frozensets(names))
reports = st.builds(
    Reported, installable=guid_sets, approved=guid_sets, policies=settings, unsupported=st.frozensets(names)
)


def guid_of(request: Request) -> str:
    """The GUID an Add approves."""
    return parse_guid(LocURI.parse(request.loc_uri).segments[-1])


def apply(requests: tuple[Request, ...], reported: Reported) -> Reported:
    """What the device reports after it carried out the commands."""
    approved, policies = set(reported.approved), dict(reported.policies)
    for request in requests:
        if request.verb == "Add":
            approved.add(guid_of(request))
        else:
            assert request.data is not None
            policies[LocURI.parse(request.loc_uri).segments[-1]] = request.data
    return Reported(reported.installable, frozenset(approved), policies, reported.unsupported)


@given(desires, reports)
def test_carrying_a_plan_out_leaves_nothing_to_do(desired: Desired, reported: Reported) -> None:
    """The plan is idempotent."""
    assert plan(desired, apply(plan(desired, reported), reported)) == ()


@given(desires, reports)
def test_carrying_a_plan_out_reaches_what_is_desired(desired: Desired, reported: Reported) -> None:
    """Every applicable update, every classification and every supported policy is as desired afterwards."""
    after = apply(plan(desired, reported), reported)
    assert desired.classifications <= after.approved
    assert desired.updates & reported.installable <= after.approved
    for name, value in desired.policies.items():
        assert name in reported.unsupported or after.policies[name] == value


@given(resets, reports)
def test_what_we_set_and_want_no_longer_is_reset_and_nothing_else(
    desired: Desired, reported: Reported
) -> None:
    """Deletes are exactly of the names that are to go, behind all Replaces, whatever the device supports."""
    requests = plan(desired, reported)
    deletes = [request for request in requests if request.verb == "Delete"]
    names = [LocURI.parse(request.loc_uri).segments[-1] for request in deletes]
    assert names == sorted(desired.unset - desired.policies.keys())
    assert requests[len(requests) - len(deletes) :] == tuple(deletes)


@given(desires, reports)
def test_nothing_is_sent_that_is_not_desired(desired: Desired, reported: Reported) -> None:
    """Adds are of desired GUIDs the device does not have; Replaces are of desired, supported values."""
    requests = plan(desired, reported)
    assert len(set(requests)) == len(requests)
    for request in requests:
        if request.verb == "Add":
            guid = guid_of(request)
            assert guid not in reported.approved
            assert guid in desired.classifications or guid in desired.updates & reported.installable
        else:
            name = LocURI.parse(request.loc_uri).segments[-1]
            assert request.verb == "Replace"
            assert request.data == desired.policies[name] != reported.policies.get(name)
            assert name not in reported.unsupported


@given(desires, reports, st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_how_the_sets_were_made(
    desired: Desired, reported: Reported, random: Random
) -> None:
    """Policies by name, then classifications by GUID, then updates by GUID."""
    items = list(desired.policies.items())
    random.shuffle(items)
    requests = plan(desired, reported)
    assert plan(Desired(desired.updates, desired.classifications, dict(items)), reported) == requests
    replaces = [request.loc_uri for request in requests if request.verb == "Replace"]
    classes = [
        request.loc_uri
        for request in requests
        if request.verb == "Add" and guid_of(request) in desired.classifications
    ]
    updates = [
        request.loc_uri
        for request in requests
        if request.verb == "Add" and guid_of(request) not in desired.classifications
    ]
    assert [request.loc_uri for request in requests] == [
        *sorted(replaces),
        *sorted(classes),
        *sorted(updates),
    ]
