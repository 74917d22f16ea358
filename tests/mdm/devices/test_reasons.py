"""Why an update is not installed: every code and its sentence, in the order of the table, and never against `decide`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.approvals.decision import (
    CLASSIFICATION,
    EXPANDED,
    PRODUCT,
    QUERY,
    UPDATE,
    ClassFacts,
    Hold,
    Intent,
    UpdateFacts,
    decide,
)
from mdm.devices.case import (
    Case,
    Heard,
    Newer,
    PolicyAnswer,
    Refusal,
    Report,
    Ring,
    RolloutFacts,
)
from mdm.devices.certificate import DeviceCertificate
from mdm.devices.reasons import REASONS, explain

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
CLASS = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
PRODUCT_ID = "dddddddd-0000-4000-8000-000000000001"
EULA = "eeeeeeee-0000-4000-8000-000000000001"

KNOWN = UpdateFacts(A, classification_id=CLASS, title="Patch", eula_id=EULA)
HEARD = Heard(NOW - HOUR, NOW - HOUR, NOW - HOUR, "2026-11-21T10:00:00Z")
ENDED = DeviceCertificate("1" * 40, NOW - DAY)
REVOKED = DeviceCertificate("2" * 40, NOW + DAY, NOW, "keyCompromise")
OFFERED = Case(NOW, A, HEARD, Report("installable", NOW - DAY), KNOWN, NOW - 5 * DAY)
SILENT = replace(OFFERED, report=None)
APPROVED = replace(OFFERED, approvals=(Intent("apr_1", UPDATE, A),))
BY_CLASS = replace(OFFERED, approvals=(Intent("apr_1", CLASSIFICATION, CLASS),))

ROLLOUT = RolloutFacts(
    "rol_1",
    "November",
    NOW - HOUR,
    "client:anna",
    {"code": "paused", "remark": "VPN breaks."},
    (
        Ring(1, "pilot", "running", NOW - DAY, None, None),
        Ring(2, "broad", "waiting", NOW + DAY, 0.25, None),
    ),
)


def gated(gate: Hold, **values: Any) -> Case:
    """An update in the second ring of a rollout that keeps it back."""
    intent = Intent("apr_1", UPDATE, A, gate=gate, rollout_id="rol_1", stage=2)
    rollout = replace(ROLLOUT, **values)
    return replace(OFFERED, approvals=(intent,), held={A: gate}, rollouts={"rol_1": rollout})


def block(**values: Any) -> Intent:
    """A block of A."""
    given: dict[str, Any] = {"target_type": UPDATE, "target_id": A, "reason": "INC-1", **values}
    return Intent(given.pop("approval_id", "apr_b"), action="block", **given)


def failed(hresult: int | None, failures: int = 1) -> Case:
    """An update that Windows failed to install."""
    return replace(APPROVED, report=Report("failed", NOW, hresult, failures))


CASES: list[tuple[Case, str, str]] = [
    # what the device says
    (replace(OFFERED, report=Report("installed", NOW)), "installed", "Installed."),
    (
        replace(OFFERED, report=Report("pending_reboot", NOW)),
        "pending_reboot",
        "Installed, but waiting for a restart of the device since 2026-11-21 12:00 UTC.",
    ),
    (
        replace(APPROVED, heard=replace(HEARD, unenrolled_at=NOW)),
        "unenrolled",
        "The device left management on 2026-11-21 12:00 UTC; nothing reaches it until it is enrolled again.",
    ),
    (
        replace(APPROVED, heard=replace(HEARD, unenrolled_at=NOW, retire_requested_at=NOW - DAY)),
        "unenrolled",
        "The device left management on 2026-11-21 12:00 UTC; nothing reaches it until it is enrolled again.",
    ),
    (
        replace(APPROVED, heard=replace(HEARD, retire_requested_at=NOW)),
        "retiring",
        (
            "The device was asked to leave management on 2026-11-21 12:00 UTC: it is told so at its next session, and gets no "
            "updates meanwhile. Cancel its retirement to go on."
        ),
    ),
    (
        replace(APPROVED, heard=replace(HEARD, retire_requested_at=NOW - DAY, retire_told_at=NOW)),
        "retiring",
        (
            "The device was asked to leave management on 2026-11-20 12:00 UTC: it was told so on 2026-11-21 12:00 UTC, and gets "
            "no updates meanwhile. Cancel its retirement to go on."
        ),
    ),
    (
        replace(APPROVED, heard=replace(HEARD, retire_requested_at=NOW - DAY, certificate=ENDED)),
        "retiring",
        (
            "The device was asked to leave management on 2026-11-20 12:00 UTC and cannot be told any more: retire it at "
            "once. Its certificate ended on 2026-11-20; Windows does not renew after that: the device has to be enrolled "
            "again."
        ),
    ),
    (
        replace(APPROVED, heard=replace(HEARD, certificate=ENDED)),
        "certificate_ended",
        "Its certificate ended on 2026-11-20; Windows does not renew after that: the device has to be enrolled again.",
    ),
    (
        replace(SILENT, heard=Heard(certificate=REVOKED)),
        "certificate_ended",
        (
            "Its certificate was revoked on 2026-11-21 (keyCompromise); the device is refused until it is enrolled "
            "again."
        ),
    ),
    # of one it does not speak of
    (
        replace(SILENT, known=None, spoken_of=False),
        "unknown_update",
        "Unknown update: neither the catalogue nor any device has named this id.",
    ),
    (
        replace(APPROVED, report=None, known=None, spoken_of=False),
        "unknown_update",
        "Unknown update: neither the catalogue nor any device has named this id. It is approved all the same.",
    ),
    (replace(SILENT, heard=Heard()), "never_reported", "Not reported: the device has never checked in."),
    (
        replace(SILENT, heard=Heard(NOW - DAY, NOW - DAY, None, "2026-11-20T10:00:00Z")),
        "never_reported",
        "Not reported: the device has not told all of its updates yet; it was last seen 2026-11-20 12:00 UTC.",
    ),
    *(
        (
            replace(SILENT, heard=replace(HEARD, scan_time=never)),
            "never_reported",
            "Not reported: the device has never completed a scan for updates; it was last seen 2026-11-21 11:00 UTC.",
        )
        for never in (None, "", "0")
    ),
    (
        replace(SILENT, released=NOW - HOUR),
        "never_reported",
        (
            "Not reported: what the device told is from 2026-11-21 10:00 UTC, before this update of 2026-11-21 11:00 UTC; "
            "it was last seen 2026-11-21 11:00 UTC."
        ),
    ),
    (
        replace(SILENT, released=NOW - HOUR / 2, heard=replace(HEARD, scan_time="yesterday")),
        "never_reported",
        (
            "Not reported: what the device told is from 2026-11-21 11:00 UTC, before this update of 2026-11-21 11:30 UTC; "
            "it was last seen 2026-11-21 11:00 UTC."
        ),
    ),
    (
        replace(SILENT, newer=(Newer(B, "Newer", "installed"),)),
        "superseded",
        f"Replaced by 'Newer' ({B}), which is installed on the device; the device does not offer it.",
    ),
    (
        replace(SILENT, newer=(Newer(B, "Newer", None), Newer(A, "x", None))),
        "superseded",
        f"Replaced by 'Newer' ({B}) and 1 more; the device does not offer it.",
    ),
    (
        replace(SILENT, known=replace(KNOWN, expired=True)),
        "update_expired",
        "Microsoft has withdrawn this update, and the device does not offer it.",
    ),
    (
        SILENT,
        "not_applicable",
        "Not applicable: the device scanned 2026-11-21 10:00 UTC and does not offer this update.",
    ),
    (
        replace(
            SILENT,
            known=None,
            released=None,
            heard=replace(HEARD, scan_time="2026-11-21T10:30:00"),
            report=Report("listed", NOW),
            delivered=True,
            approvals=(Intent("apr_1", UPDATE, A),),
        ),
        "not_applicable",
        (
            "Not applicable: the device scanned 2026-11-21 10:30 UTC and does not offer this update. The approval stands on "
            "the device already."
        ),
    ),
    # of one it could install
    (replace(APPROVED, blocks=(block(),)), "blocked", "Blocked for this device (apr_b): INC-1."),
    *(
        (replace(OFFERED, blocks=(block(target_type=kind, reason=None),)), "blocked", words)
        for kind, words in (
            (CLASSIFICATION, "Its classification is blocked for this device (apr_b): ."),
            (PRODUCT, "Its product is blocked for this device (apr_b): ."),
            (QUERY, "A saved query that it matches is blocked for this device (apr_b): ."),
        )
    ),
    (
        replace(APPROVED, blocks=(block(expires_at=NOW + DAY),), delivered=True),
        "blocked",
        (
            "Blocked for this device until 2026-11-22 12:00 UTC (apr_b): INC-1. The device may install it all the same: the "
            "approval it has is not from this bridge."
        ),
    ),
    (
        replace(APPROVED, blocks=(block(),), delivered=True, delivered_at=NOW, withdrawal_refused=True),
        "blocked",
        (
            "Blocked for this device (apr_b): INC-1. The device may install it all the same: its build of Windows refuses to "
            "forget an approval."
        ),
    ),
    (
        failed(0x80240016),
        "install_failed",
        (
            "Windows tried to install it and failed with 0x80240016: Another installation was in progress, or the device was "
            "waiting for a mandatory restart. Restart the device; Windows tries again at its next scan."
        ),
    ),
    (
        failed(0x80240016, 2),
        "install_failed",
        (
            "Windows has failed to install it twice, the last time with 0x80240016: Another installation was in progress, or "
            "the device was waiting for a mandatory restart. Restart the device; Windows tries again at its next scan."
        ),
    ),
    (
        failed(0x8F000001, 3),
        "install_failed",
        "Windows has failed to install it 3 times, the last time with 0x8F000001.",
    ),
    (
        failed(None),
        "install_failed",
        "Windows tried to install it and failed, without saying why.",
    ),
    (
        failed(None, 4),
        "install_failed",
        "Windows has failed to install it 4 times, without saying why.",
    ),
    (
        replace(APPROVED, delivered=True, delivered_at=NOW, scans=2),
        "delivered",
        "Approved and delivered on 2026-11-21 12:00 UTC; Windows has not installed it yet, after 2 successful scans.",
    ),
    (
        replace(APPROVED, delivered=True, scans=1),
        "delivered",
        "Approved and delivered; Windows has not installed it yet, after 1 successful scan.",
    ),
    (
        replace(APPROVED, delivered=True, enforced=PolicyAnswer("unsupported", 405, None)),
        "delivered",
        (
            "Approved and delivered; the device does not know the policy RequireUpdateApproval, so Windows decides by itself "
            "when to install."
        ),
    ),
    (
        replace(APPROVED, delivered=True, enforced=PolicyAnswer("failed", 500, None)),
        "delivered",
        (
            "Approved and delivered; Windows decides by itself when to install, because the device refused the policy "
            "RequireUpdateApproval with status 500."
        ),
    ),
    (
        replace(OFFERED, delivered=True, delivered_at=NOW),
        "delivered",
        (
            "No approval holds for it any more. The device may install it until its next check-in, when it is told to forget "
            "the approval; not every Windows does."
        ),
    ),
    (OFFERED, "not_approved", "Not approved for any group this device is in."),
    (
        replace(APPROVED, refusals={A: Refusal(405, None)}),
        "unsupported_on_build",
        (
            "Approved, but this build or edition of Windows takes no approvals: the device answered with status 405. Manage "
            "it by policies."
        ),
    ),
    (
        replace(APPROVED, refusals={A: Refusal(500, "0x86000002")}),
        "refused_by_device",
        (
            "Approved, but the device refused the approval with status 500 (0x86000002): The device has no such setting. It "
            "gets it again at its next check-in."
        ),
    ),
    (
        replace(APPROVED, refusals={B: Refusal(500, None)}),
        "awaiting_checkin",
        "Approved; it goes to the device at its next check-in.",
    ),
    (
        replace(APPROVED, heard=replace(HEARD, last_checkin_at=NOW - 3 * DAY)),
        "awaiting_checkin",
        "Approved; it goes to the device at its next check-in. The device has not been seen since 2026-11-18 12:00 UTC.",
    ),
    # why it is held
    (
        replace(BY_CLASS, held={CLASS: Hold.BLOCK_INSIDE}, blocked_inside=("'Bad' (apr_2)",)),
        "classification_has_block",
        (
            "Approved with its classification, but held: of the same classification 'Bad' (apr_2) is blocked, and on the "
            "device the classification would approve that too. Approve the classification as expanded."
        ),
    ),
    (
        replace(BY_CLASS, held={CLASS: Hold.BLOCK_INSIDE}),
        "classification_has_block",
        (
            "Approved with its classification, but held: of the same classification an update is blocked, and on the device "
            "the classification would approve that too. Approve the classification as expanded."
        ),
    ),
    (
        replace(
            OFFERED,
            held={A: Hold.NOT_BEFORE},
            approvals=(
                Intent("apr_1", UPDATE, A, not_before=NOW + 2 * HOUR),
                Intent("apr_2", UPDATE, A, not_before=NOW + HOUR),
            ),
        ),
        "not_before",
        "Approved, but not to be delivered before 2026-11-21 13:00 UTC.",
    ),
    (
        gated(Hold.ROLLOUT_TURN),
        "rollout_turn",
        (
            "Approved, but the rollout 'November' (rol_1) offers it to the devices of ring 2 ('broad') little by little, and "
            "this one's turn has not come; the turn of 25 % of them has come so far."
        ),
    ),
    (
        gated(Hold.ROLLOUT_TURN, rings=(replace(ROLLOUT.rings[1], offered=None),)),
        "rollout_turn",
        (
            "Approved, but the rollout 'November' (rol_1) offers it to the devices of ring 2 ('broad') little by little, and "
            "this one's turn has not come."
        ),
    ),
    (
        gated(Hold.ROLLOUT_GATE),
        "rollout_gate",
        (
            "Approved, but in the rollout 'November' (rol_1) ring 2 ('broad') has not begun: ring 1 ('pilot') has not passed "
            "its gate; it begins 2026-11-22 12:00 UTC at the earliest."
        ),
    ),
    (
        gated(
            Hold.ROLLOUT_GATE,
            rings=(replace(ROLLOUT.rings[0], promotion="asked"), replace(ROLLOUT.rings[1], opens_at=None)),
        ),
        "rollout_gate",
        (
            "Approved, but in the rollout 'November' (rol_1) ring 2 ('broad') has not begun: ring 1 ('pilot') waits for a "
            "second person to agree."
        ),
    ),
    (
        gated(Hold.ROLLOUT_GATE, rings=(replace(ROLLOUT.rings[0], state="passed"), ROLLOUT.rings[1])),
        "rollout_gate",
        (
            "Approved, but in the rollout 'November' (rol_1) ring 2 ('broad') has not begun; it begins 2026-11-22 12:00 UTC at "
            "the earliest."
        ),
    ),
    (
        gated(Hold.ROLLOUT_PAUSED),
        "rollout_paused",
        (
            "Approved, but the rollout 'November' (rol_1) has been paused by client:anna since 2026-11-21 11:00 UTC: VPN "
            "breaks."
        ),
    ),
    (
        gated(Hold.ROLLOUT_PAUSED, state_reason={"code": "paused", "remark": None}),
        "rollout_paused",
        "Approved, but the rollout 'November' (rol_1) has been paused by client:anna since 2026-11-21 11:00 UTC.",
    ),
    (
        gated(Hold.ROLLOUT_HALTED, state_reason={"code": "halted_by_failures", "failed": 3, "outcomes": 15}),
        "rollout_halted",
        (
            "Approved, but the rollout 'November' (rol_1) halted itself 2026-11-21 11:00 UTC: 3 of the 15 devices that were "
            "done had failed. Somebody has to look and resume it."
        ),
    ),
    (
        gated(Hold.ROLLOUT_HALTED),
        "rollout_halted",
        (
            "Approved, but the rollout 'November' (rol_1) halted itself 2026-11-21 11:00 UTC. Somebody has to look and resume "
            "it."
        ),
    ),
    (
        replace(APPROVED, known=None, held={A: Hold.METADATA_UNKNOWN}, not_offered=True),
        "metadata_not_offered",
        (
            "Approved, but held: no upstream offers its metadata, so nobody can tell whether it has a licence to accept. "
            "Approve it with allow_without_metadata to deliver it all the same."
        ),
    ),
    (
        replace(APPROVED, known=None, held={A: Hold.METADATA_UNKNOWN}),
        "metadata_unknown",
        (
            "Approved, but held until its metadata arrives with the next catalogue sync: only then is it known whether it has "
            "a licence to accept."
        ),
    ),
    (
        replace(APPROVED, held={A: Hold.EXPIRED}),
        "update_expired",
        "Approved, but Microsoft has withdrawn this update.",
    ),
    (
        replace(
            OFFERED,
            approvals=(Intent("apr_1", CLASSIFICATION, CLASS, delivery=EXPANDED),),
            held={A: Hold.SUPERSEDED},
            newer=(Newer(B, "Newer", None),),
        ),
        "update_superseded",
        (
            f"Approved with its classification, but replaced by 'Newer' ({B}). Approve it by itself to deliver it all the "
            "same."
        ),
    ),
    (
        replace(OFFERED, approvals=(Intent("apr_1", PRODUCT, PRODUCT_ID),), held={A: Hold.SUPERSEDED}),
        "update_superseded",
        "Approved with others, but replaced by a newer one. Approve it by itself to deliver it all the same.",
    ),
    (
        replace(APPROVED, held={A: Hold.EULA_NOT_ACCEPTED}),
        "eula_not_accepted",
        f"Approved, but held: nobody has accepted its licence (EULA {EULA}).",
    ),
    (
        replace(BY_CLASS, held={CLASS: Hold.EULA_NOT_ACCEPTED}, open_eulas=("X of 'Y'", "Z")),
        "eula_not_accepted",
        (
            "Approved with its classification, but held: on the device the classification would accept a licence that nobody "
            "has accepted (EULA X of 'Y' and 1 more)."
        ),
    ),
    (
        replace(APPROVED, held={A: Hold.WINDOW}, window_opens=NOW + DAY),
        "window",
        "Approved, but no maintenance window of the device is open, and the next opens 2026-11-22 12:00 UTC.",
    ),
    (
        replace(APPROVED, held={A: Hold.WINDOW}),
        "window",
        "Approved, but no maintenance window of the device is open, and none is to come.",
    ),
]


@pytest.mark.parametrize(("case", "code", "text"), CASES)
def test_each_reason_has_its_code_and_sentence(case: Case, code: str, text: str) -> None:
    """Word for word: this is what an administrator reads."""
    found = explain(case)
    assert (found.code, found.text) == (code, text)


def test_every_code_is_in_the_table_of_cases() -> None:
    """None is promised that nobody has seen."""
    assert {code for _, code, _ in CASES} == {reason.code for reason in REASONS}


def test_every_hold_has_a_reason() -> None:
    """In the order of the holds, so that nothing that is held goes unexplained."""
    codes = [reason.code for reason in REASONS]
    last = [len(codes) - 1 - codes[::-1].index(hold.value) for hold in Hold]
    assert all(first < second for first, second in pairwise(last))


@pytest.mark.parametrize(
    ("case", "until"),
    [
        (replace(APPROVED, blocks=(block(expires_at=NOW + DAY),)), NOW + DAY),
        (replace(APPROVED, blocks=(block(), block(expires_at=NOW + DAY))), None),
        (
            replace(
                OFFERED,
                held={A: Hold.NOT_BEFORE},
                approvals=(Intent("apr_1", UPDATE, A, not_before=NOW + HOUR),),
            ),
            NOW + HOUR,
        ),
        (replace(APPROVED, held={A: Hold.WINDOW}, window_opens=NOW + DAY), NOW + DAY),
        (OFFERED, None),
    ],
)
def test_what_ends_by_itself_says_when(case: Case, until: datetime | None) -> None:
    """As a time, for programs."""
    assert explain(case).until == until


@pytest.mark.parametrize(
    ("case", "advised"),
    [
        (failed(0x80070070), True),
        (failed(0x8F000001), False),
        (failed(None), False),
        (OFFERED, False),
        (replace(SILENT, report=None), False),
    ],
)
def test_advice_is_for_failures_we_know(case: Case, *, advised: bool) -> None:
    """And stands by itself too, for programs."""
    assert (explain(case).advice is not None) == advised


def test_what_nobody_approves_is_not_held() -> None:
    """There is nothing that could be."""
    assert OFFERED.hold is None
    assert APPROVED.hold is None


def test_an_end_is_told_of_approvals_that_are_due() -> None:
    """One that has not begun lends its end to nobody."""
    case = replace(
        OFFERED,
        approvals=(
            Intent("apr_1", UPDATE, A, expires_at=NOW + DAY),
            Intent("apr_2", UPDATE, A, not_before=NOW + HOUR),
        ),
    )
    assert explain(case).text.endswith("at its next check-in, if that is before 2026-11-22 12:00 UTC.")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21T10:00:00Z", NOW - 2 * HOUR),
        ("2026-11-21T12:00:00+02:00", NOW - 2 * HOUR),
        ("2026-11-21 10:00:00", NOW - 2 * HOUR),
        ("0", None),
        (None, None),
        ("soon", None),
    ],
)
def test_scan_times_as_devices_write_them(text: str | None, moment: datetime | None) -> None:
    """What is no time is none, and harms nobody."""
    assert Heard(scan_time=text).scanned_at == moment


# --- the explanation is the decision --------------------------------------------------------------------

times = st.sampled_from([None, NOW - HOUR, NOW + HOUR])
gates = st.sampled_from(
    [None, None, Hold.ROLLOUT_TURN, Hold.ROLLOUT_GATE, Hold.ROLLOUT_PAUSED, Hold.ROLLOUT_HALTED]
)


@st.composite
def intents(draw: st.DrawFn) -> list[Intent]:
    """Approvals and blocks of A, of what it belongs to, and of others."""
    found = []
    for number in range(draw(st.integers(0, 4))):
        kind, target = draw(
            st.sampled_from(
                [(UPDATE, A), (UPDATE, B), (CLASSIFICATION, CLASS), (PRODUCT, PRODUCT_ID), (QUERY, "qry_1")]
            )
        )
        gate = draw(gates)
        blocks = draw(st.integers(0, 4)) == 0
        found.append(
            Intent(
                f"apr_{number}",
                kind,
                target,
                draw(st.booleans()),
                "block" if blocks else "approve",
                draw(st.sampled_from(["device", EXPANDED])),
                None if blocks else draw(times),
                None,
                "why",
                None if blocks else gate,
                None if gate is None else "rol_1",
                None if gate is None else 2,
            )
        )
    return found


@given(
    wanted=intents(),
    known=st.sampled_from(
        [
            None,
            KNOWN,
            replace(KNOWN, eula_accepted=True),
            replace(KNOWN, eula_accepted=True, groups=frozenset({PRODUCT_ID, "qry_1"})),
            replace(KNOWN, expired=True),
            replace(KNOWN, eula_accepted=True, superseded=True),
        ]
    ),
    open_class=st.booleans(),
    window_closed=st.booleans(),
)
def test_the_explanation_is_the_decision(
    wanted: list[Intent], known: UpdateFacts | None, *, open_class: bool, window_closed: bool
) -> None:
    """For whatever intent and facts, an offered update is told to go exactly if `decide` lets it, else why it does not."""
    facts = {} if known is None else {A: known}
    facts[B] = UpdateFacts(B, classification_id=CLASS, title="Other")
    classes = ClassFacts(with_open_eula=frozenset({CLASS} if open_class else ()))
    decision = decide(wanted, facts, classes, now=NOW, offered=[A], window_closed=window_closed)
    speaking = [each for each in wanted if each.covers(A, known)]
    case = replace(
        OFFERED,
        known=known,
        approvals=tuple(each for each in speaking if not each.blocks),
        blocks=tuple(each for each in speaking if each.blocks),
        held=decision.held,
        rollouts={"rol_1": ROLLOUT},
    )
    found = explain(case)
    by_class = known is not None and CLASS in decision.classifications
    goes = A in decision.updates or by_class
    if case.blocks:
        assert found.code == "blocked"
        assert A not in decision.updates
    elif goes:
        assert found.code == "awaiting_checkin"
    elif not case.approvals:
        assert found.code == "not_approved"
        assert A not in decision.held
    else:
        assert found.code in {decision.held.get(A), decision.held.get(CLASS)}
    assert found.text.endswith(".")
