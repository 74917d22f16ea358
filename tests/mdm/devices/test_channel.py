"""Channels: how a device's updates are managed, whether approvals take effect, and what we say about it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mdm.devices.channel import (
    SCANS,
    STATEMENT,
    Channel,
    DeviceChannel,
    Recommendation,
    Verdict,
    device_channel,
    verdict_of,
)

if TYPE_CHECKING:
    from conftest import Bench

A = "a317dafe-baf4-453f-b232-a7075efae36e"
DAY = timedelta(days=1)


def channel(bench: Bench, device_pk: int = 1) -> DeviceChannel:
    """What is said of one device."""
    with bench.database.read() as conn:
        return device_channel(conn, device_pk, bench.now)


def policy(bench: Bench, name: str = "RequireUpdateApproval", device_pk: int = 1, **values: Any) -> None:
    """What the device answered to a policy."""
    given = {"status": "set", "value": "1", "status_code": 200, "at": bench.now, **values}
    bench.add("device_policy", device_pk=device_pk, name=name, **given)


def evidence(bench: Bench, device_pk: int = 1, **values: Any) -> None:
    """What the device's scans have shown."""
    bench.add("approval_evidence", device_pk=device_pk, **values)


@pytest.mark.parametrize(
    ("enforced", "waited", "since_acted", "verdict"),
    [
        (False, None, None, Verdict.NOT_ENFORCED),
        (False, SCANS, 0, Verdict.NOT_ENFORCED),
        (True, None, None, Verdict.TOO_EARLY),
        (True, SCANS - 1, None, Verdict.TOO_EARLY),
        (True, SCANS, None, Verdict.NO_EFFECT_SEEN),
        (True, SCANS, SCANS, Verdict.NO_EFFECT_SEEN),
        (True, SCANS, SCANS - 1, Verdict.EFFECTIVE),
        (True, SCANS - 1, SCANS, Verdict.EFFECTIVE),
        (True, None, 100, Verdict.EFFECTIVE),
    ],
)
def test_verdicts(*, enforced: bool, waited: int | None, since_acted: int | None, verdict: Verdict) -> None:
    """Waiting speaks against approvals only while nothing approved is installed meanwhile."""
    assert verdict_of(enforced=enforced, waited=waited, since_acted=since_acted) is verdict


def test_a_device_nobody_manages(bench: Bench) -> None:
    """Windows decides by itself, and that is said."""
    bench.enrol()
    found = channel(bench)
    assert (found.channel, found.verdict, found.recommendation) == (
        Channel.NONE,
        None,
        Recommendation.MANAGE,
    )
    assert (
        found.reason == "Neither approvals nor policies are set for this device: Windows decides by itself."
    )
    assert found.recommendation_text == (
        "Give this device a policy profile, or approve updates for one of its groups."
    )


def test_policies_alone(bench: Bench) -> None:
    """A policy on the device makes a channel, as does a profile for one of its groups; RequireUpdateApproval does not."""
    bench.enrol()
    policy(bench)
    assert channel(bench).channel is Channel.NONE
    bench.add(
        "policy_profile",
        id="prf_1",
        name="ring",
        settings={},
        drift="report",
        created_at=bench.now,
        changed_at=bench.now,
    )
    bench.add("policy_assignment", profile_id="prf_1", group_id="all-devices", rank=1)
    assert channel(bench).channel is Channel.POLICIES
    with bench.database.write() as conn:
        conn.exec_driver_sql("DELETE FROM policy_assignment")
    assert channel(bench).channel is Channel.NONE
    policy(bench, "AllowAutoUpdate", value="4")
    found = channel(bench)
    assert (found.channel, found.verdict, found.recommendation) == (
        Channel.POLICIES,
        None,
        Recommendation.KEEP,
    )
    assert found.reason == "Its updates are managed by policies, not by approvals."
    bench.approve(A)
    assert channel(bench).channel is Channel.BOTH


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "The device has not confirmed the policy RequireUpdateApproval yet."),
        (
            {"status": "sent", "value": None, "status_code": None},
            "The device has not confirmed the policy RequireUpdateApproval yet.",
        ),
        (
            {"status": "unsupported", "value": None, "status_code": 405},
            "This build or edition of Windows does not know the policy RequireUpdateApproval.",
        ),
        (
            {"status": "failed", "value": None, "status_code": 500},
            "The device refused the policy RequireUpdateApproval with status 500.",
        ),
        (
            {"drifted_at": DAY},
            "The policy RequireUpdateApproval is not in force on the device: something else has overridden it.",
        ),
    ],
)
def test_approvals_that_nothing_enforces(bench: Bench, answer: dict[str, Any] | None, words: str) -> None:
    """The sentence says what is the matter with the policy."""
    bench.enrol()
    bench.approve(A)
    if answer is not None:
        policy(bench, **{**answer, **({"drifted_at": bench.now} if "drifted_at" in answer else {})})
    found = channel(bench)
    assert (found.channel, found.verdict) == (Channel.APPROVALS, Verdict.NOT_ENFORCED)
    assert found.reason == f"{words} Windows installs every update that applies, approved or not."
    assert found.recommendation is Recommendation.ENFORCE
    assert found.recommendation_text.endswith(STATEMENT)


@pytest.mark.parametrize(
    ("values", "verdict", "recommendation", "reason"),
    [
        (
            None,
            Verdict.TOO_EARLY,
            Recommendation.WAIT,
            "No update that was approved on the device has been installable there so far.",
        ),
        (
            {"scans": 1, "waiting": 1, "waiting_from": 0},
            Verdict.TOO_EARLY,
            Recommendation.WAIT,
            "1 update is approved on the device and installable, for 1 successful scan so far; 3 are needed to tell.",
        ),
        (
            {"scans": 9, "waiting": 2, "waiting_from": 5},
            Verdict.NO_EFFECT_SEEN,
            Recommendation.USE_POLICIES,
            (
                "2 updates are approved on the device and installable; the one that has waited longest is still not "
                "installed after 4 successful scans, and nothing else that was approved has been installed in the meantime."
            ),
        ),
        (
            {"scans": 9, "waiting": 2, "waiting_from": 5, "installed": 1, "failed": 2, "acted_scan": 8},
            Verdict.EFFECTIVE,
            Recommendation.WATCH,
            "Windows has installed 1 update after approval and failed to install 2, the last at 2026-11-21 12:00 UTC.",
        ),
    ],
)
def test_what_the_scans_have_shown(
    bench: Bench,
    values: dict[str, Any] | None,
    verdict: Verdict,
    recommendation: Recommendation,
    reason: str,
) -> None:
    """The verdict, its reason with the figures, and what we would do; Microsoft's word always with it."""
    bench.enrol()
    bench.approve(A)
    policy(bench)
    if values is not None:
        evidence(bench, **values, **({"acted_at": bench.now} if "acted_scan" in values else {}))
    found = channel(bench)
    assert (found.verdict, found.recommendation, found.reason) == (verdict, recommendation, reason)
    assert found.recommendation_text.endswith(STATEMENT)
    assert found.evidence.scans_needed == SCANS
    assert found.evidence.waiting == (values or {}).get("waiting", 0)


def test_where_approvals_are_meant_for_microsoft_is_not_quoted(bench: Bench) -> None:
    """What it says is about desktops."""
    bench.enrol()
    bench.approve(A)
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE device SET os_edition = 'Windows Holographic for Business'")
    assert STATEMENT not in channel(bench).recommendation_text
