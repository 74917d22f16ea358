"""Reading what decides about updates on a device: any update, from the tables as the rest of the service leaves them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from csp.classifications import SECURITY_UPDATES as CLASS
from mdm.devices.updates import DeviceUpdateView, ExplainedUpdate, explain_update, list_device_updates
from mdm.errors import NotFound
from mdm.rollouts.turns import TURNS, turn_of
from syncml.client import Outcome
from syncml.messages import Item, Location

if TYPE_CHECKING:
    from conftest import Bench, ScriptedDevice

A = "a317dafe-baf4-453f-b232-a7075efae36e"
B = "b317dafe-baf4-453f-b232-a7075efae36e"
C = "c317dafe-baf4-453f-b232-a7075efae36e"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SCAN = "./Vendor/MSFT/Update/LastSuccessfulScanTime"


def explained(bench: Bench, update_id: str = A) -> ExplainedUpdate:
    """What is said of any update on the only device."""
    with bench.database.read() as conn:
        return explain_update(conn, 1, update_id, bench.now)


def why(bench: Bench, update_id: str = A) -> tuple[str, str]:
    """Code and sentence."""
    view = explained(bench, update_id).update
    return view.reason, view.reason_text


def scan(bench: Bench, device: ScriptedDevice, text: str | None = None) -> None:
    """What the device says of its last scan."""
    data = f"{bench.now:%Y-%m-%dT%H:%M:%SZ}" if text is None else text
    device.answers[SCAN] = Outcome(200, (Item(source=Location(SCAN), data=data),))


@pytest.fixture
def device(bench: Bench) -> ScriptedDevice:
    """A device that has told all its lists, and offers A."""
    device = bench.enrol()
    device.installable = {A: (1, 200)}
    scan(bench, device)
    bench.catalogue(A, classification_id=CLASS, title="Patch", kb="5001", created=bench.now - DAY)
    device.check_in()
    return device


def supersede(bench: Bench, newer: str, older: str) -> None:
    """The newer one names the older, and the list of updates knows."""
    bench.add(
        "revision_relation",
        update_id=newer,
        revision_number=200,
        kind="supersedes",
        clause=0,
        target_id=older,
    )
    with bench.database.write() as conn:
        conn.exec_driver_sql("DELETE FROM listed_update")
    bench.add("listed_update", position=1, update_id=older, words="x", superseded_at=bench.now)


# --- updates the device does not speak of ---------------------------------------------------------------


def test_from_never_seen_to_not_applicable(bench: Bench) -> None:
    """Each step of a new device: no check-in, no scan, a scan before the update came, a scan after."""
    bench.catalogue(B, title="Other", created=bench.now + HOUR)
    device = bench.enrol()
    assert why(bench, B) == ("never_reported", "Not reported: the device has never checked in.")
    scan(bench, device, "0")
    device.check_in()
    assert why(bench, B)[1].startswith("Not reported: the device has never completed a scan for updates;")
    scan(bench, device)
    device.check_in()
    code, text = why(bench, B)
    assert code == "never_reported"
    assert "before this update of 2026-11-21 13:00 UTC" in text
    bench.now += DAY
    scan(bench, device)
    device.check_in()
    assert why(bench, B) == (
        "not_applicable",
        "Not applicable: the device scanned 2026-11-22 12:00 UTC and does not offer this update.",
    )
    view = explained(bench, B).update
    assert (view.state, view.title, view.since, view.failures, view.revision_number) == (
        None,
        "Other",
        None,
        0,
        None,
    )


@pytest.mark.usefixtures("device")
def test_what_nobody_knows_is_unknown(bench: Bench) -> None:
    """Until some device names it."""
    assert why(bench, C)[0] == "unknown_update"
    other = bench.enrol("DEV2")
    other.installable = {C: (1, 1)}
    other.check_in()
    assert why(bench, C)[0] == "not_applicable"


@pytest.mark.usefixtures("device")
def test_what_is_replaced_names_the_newer_one_and_its_state(bench: Bench) -> None:
    """What the device has installed comes first."""
    bench.catalogue(C, title="Old", created=bench.now - DAY)
    bench.catalogue(B, title="Newest", created=bench.now - DAY)
    supersede(bench, B, C)
    assert why(bench, C) == ("superseded", f"Replaced by 'Newest' ({B}); the device does not offer it.")
    bench.add("device_update", device_pk=1, update_id=B, lists=2, state="installed", since=bench.now)
    assert why(bench, C)[1] == (
        f"Replaced by 'Newest' ({B}), which is installed on the device; the device does not offer it."
    )


@pytest.mark.usefixtures("device")
def test_what_was_withdrawn_is_not_offered(bench: Bench) -> None:
    """And that is Microsoft's doing."""
    bench.catalogue(C, publication_state="Expired", created=bench.now - DAY)
    assert why(bench, C)[0] == "update_expired"


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("kind", ["classification", "Category", "Detectoid"])
def test_what_is_no_update_is_not_explained(bench: Bench, kind: str) -> None:
    """Whoever asks for a classification has the wrong id."""
    guid = CLASS if kind == "classification" else C
    if kind != "classification":
        bench.catalogue(C, update_type=kind)
    with pytest.raises(NotFound, match="is no update"):
        explained(bench, guid)


# --- rollouts and windows -------------------------------------------------------------------------------


def rollout(bench: Bench, **values: Any) -> None:
    """A rollout of two rings, of which A stands in the second."""
    given = {
        "state": "running",
        "state_at": bench.now,
        "state_by": "client:anna",
        "state_reason": {"code": "created"},
        **values,
    }
    bench.add(
        "rollout",
        id="rol_1",
        name="November",
        created_at=bench.now,
        created_by="client:anna",
        look_at=bench.now,
        **given,
    )
    for number, state in ((1, "running"), (2, "waiting")):
        bench.add(
            "rollout_stage", rollout_id="rol_1", number=number, name=f"ring {number}", state=state, rules={}
        )
    bench.approve(A, rollout_id="rol_1", stage=2)


def stage(bench: Bench, values: str) -> None:
    """Change the second ring."""
    with bench.database.write() as conn:
        conn.exec_driver_sql(f"UPDATE rollout_stage SET {values} WHERE number = 2")  # noqa: S608 - a test's own


@pytest.mark.usefixtures("device")
def test_a_rollout_tells_why_it_keeps_an_update_back(bench: Bench) -> None:
    """Gate, turn, pause and halt, each with what an administrator needs."""
    rollout(bench)
    assert why(bench) == (
        "rollout_gate",
        (
            "Approved, but in the rollout 'November' (rol_1) ring 2 ('ring 2') has not begun: ring 1 ('ring 1') has not "
            "passed its gate."
        ),
    )
    turn = turn_of("rol_1", "id-DEV1")
    stage(bench, f"state = 'running', offered_below = {turn}")
    code, text = why(bench)
    assert code == "rollout_turn"
    assert f"the turn of {100 * turn / TURNS:.0f} % of them has come so far" in text
    stage(bench, f"offered_below = {turn + 1}")
    assert why(bench)[0] == "awaiting_checkin"
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE rollout SET state = 'halted'")
    assert why(bench)[0] == "rollout_halted"
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE rollout SET state = 'paused'")
    assert why(bench) == (
        "rollout_paused",
        "Approved, but the rollout 'November' (rol_1) has been paused by client:anna since 2026-11-21 12:00 UTC.",
    )
    bench.approve(A)
    assert why(bench)[0] == "awaiting_checkin"


@pytest.mark.usefixtures("device")
def test_a_closed_window_says_when_it_opens(bench: Bench) -> None:
    """And what is open, or for other devices, keeps nothing back."""
    bench.approve(A)
    assert why(bench)[0] == "awaiting_checkin"
    bench.add(
        "maintenance_window",
        id="win_1",
        name="nights",
        pattern={"type": "weekly", "days": ["saturday"]},
        start="22:00",
        duration_minutes=120,
        zone="UTC",
        catch_up_hours=0,
        enforce_on_device=False,
        allow_auto_update=4,
        created_at=bench.now - 30 * DAY,
        created_by="test",
    )
    assert why(bench)[0] == "awaiting_checkin"
    bench.add("window_group", window_id="win_1", group_id="all-devices")
    view = explained(bench).update
    assert (view.reason, view.until) == ("window", bench.now.replace(hour=22, minute=0, second=0))
    assert view.reason_text == (
        "Approved, but no maintenance window of the device is open, and the next opens 2026-11-21 22:00 UTC."
    )


# --- what is told of one the device offers --------------------------------------------------------------


def test_failures_are_counted_until_it_is_installed(bench: Bench, device: ScriptedDevice) -> None:
    """Each entry into the list and each other HRESULT is one; staying there with the same is none."""
    seen = []
    for failed in (
        {A: (-2147024784, 256, 200)},
        {A: (-2147024784, 256, 200)},
        {A: (-2145124330, 256, 200)},
        {},
        {A: (-2145124330, 256, 200)},
    ):
        device.failed = failed
        device.check_in()
        seen.append(explained(bench).update.failures)
    assert seen == [1, 1, 2, 2, 3]
    view = explained(bench).update
    assert view.reason_text.startswith(
        "Windows has failed to install it 3 times, the last time with 0x80240016: "
    )
    assert view.advice == "Restart the device; Windows tries again at its next scan."
    device.installable, device.failed, device.installed = {}, {}, {A: 200}
    bench.now += 2 * DAY
    device.check_in()
    assert (explained(bench).update.reason, explained(bench).update.failures) == ("installed", 0)


def test_delivered_says_since_when_and_for_how_many_scans(bench: Bench, device: ScriptedDevice) -> None:
    """As `approval_trial` counts them."""
    bench.approve(A)
    device.check_in()
    delivered = explained(bench).update.delivered_at
    assert delivered is not None
    for _ in range(2):
        bench.now += DAY
        scan(bench, device)
        device.check_in()
    assert why(bench) == (
        "delivered",
        (
            f"Approved and delivered on {delivered:%Y-%m-%d %H:%M} UTC; Windows has not installed it yet, after 2 successful "
            "scans."
        ),
    )


@pytest.mark.usefixtures("device")
def test_a_device_that_stays_away_is_told(bench: Bench) -> None:
    """The approval waits for it, and since when it has not been seen stands there."""
    bench.approve(A)
    bench.now += 3 * DAY
    assert why(bench)[1].endswith("The device has not been seen since 2026-11-21 12:00 UTC.")


def test_a_build_without_an_approval_list_is_told(bench: Bench, device: ScriptedDevice) -> None:
    """405 is not a refusal that another check-in would change."""
    device.answers[f"./Vendor/MSFT/Update/ApprovedUpdates/%7b{A}%7d"] = Outcome(405)
    bench.approve(A)
    device.check_in()
    assert why(bench)[0] == "unsupported_on_build"


@pytest.mark.usefixtures("device")
def test_a_deadline_is_overdue_until_it_is_installed(bench: Bench) -> None:
    """The earliest of those that the approvals set."""
    bench.approve(A, deadline=bench.now + 2 * DAY)
    bench.approve(A, deadline=bench.now + DAY)
    view = explained(bench).update
    assert (view.deadline, view.overdue) == (bench.now + DAY, False)
    bench.now += DAY
    assert explained(bench).update.overdue
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE device_update SET state = 'installed', lists = 2")
    assert not explained(bench).update.overdue


@pytest.mark.usefixtures("device")
def test_a_device_that_left_is_told(bench: Bench) -> None:
    """Before anything that would wait for it."""
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE device SET unenrolled_at = created_at")
    assert why(bench)[0] == "unenrolled"


@pytest.mark.usefixtures("device")
def test_a_device_that_is_to_leave_is_told(bench: Bench) -> None:
    """With when it was asked, and when it was told."""
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE device SET retire_requested_at = created_at")
    assert why(bench)[0] == "retiring"
    assert "at its next session" in why(bench)[1]
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE device SET retire_told_at = created_at")
    assert "it was told so on" in why(bench)[1]


@pytest.mark.usefixtures("device")
def test_a_device_that_cannot_prove_itself_any_more_is_told(bench: Bench) -> None:
    """With when its certificate ended; one that is good says nothing, and is not asked for where messages prove."""
    bench.add(
        "certificate_authority",
        id="ca_1",
        origin="created",
        current=True,
        root_der=b"root",
        sealed_key=b"key",
        created_at=bench.now,
    )
    bench.add(
        "issued_certificate",
        serial="1" * 40,
        authority_id="ca_1",
        device_pk=bench.rows("device")[0]["pk"],
        subject="CN=x",
        sha256="0" * 64,
        thumbprint="0" * 40,
        issued_at=bench.now,
        not_before=bench.now,
        not_after=bench.now + DAY,
    )
    before = why(bench)
    bench.now += 2 * DAY
    assert why(bench)[0] == before[0] != "certificate_ended"
    with bench.database.write() as conn:
        conn.exec_driver_sql("UPDATE device SET certificate_required = (1 = 1)")
    code, sentence = why(bench)[:2]
    assert (code, sentence[:25]) == ("certificate_ended", "Its certificate ended on ")
    bench.now -= 2 * DAY
    assert why(bench)[0] == before[0]


def test_every_answer_says_how_fresh_it_is(bench: Bench, device: ScriptedDevice) -> None:
    """When the device was seen, told and scanned, and when the catalogue was read; never is never."""
    seen = bench.rows("device")[0]["last_checkin_at"]
    found = explained(bench)
    assert (found.as_of, found.device_id, found.device_name) == (bench.now, "id-DEV1", "dev1")
    assert found.freshness.catalogue_synced.at is None
    assert found.freshness.catalogue_synced.age_seconds is None
    bench.add(
        "sync_run",
        id="run_1",
        upstream_url="http://upstream.test",
        trigger="manual",
        requested_by="test",
        state="succeeded",
        requested_at=bench.now,
        finished_at=bench.now,
        categories=0,
        needed=0,
        fetched=0,
        not_offered=0,
        failed=0,
        eula_texts=0,
    )
    bench.now += HOUR
    fresh = explained(bench).freshness
    assert fresh.catalogue_synced.age_seconds == 3600
    assert (fresh.device_seen.at, fresh.device_seen.age_seconds) == (
        seen,
        round((bench.now - seen).total_seconds()),
    )
    assert fresh.scanned.age_seconds is not None
    assert None not in {fresh.lists_read.at, fresh.installed_read.at}
    scan(bench, device, "2027-01-01T00:00:00Z")
    device.check_in()
    assert explained(bench).freshness.scanned.age_seconds == 0


def test_the_list_and_the_single_explanation_agree(bench: Bench, device: ScriptedDevice) -> None:
    """For every update the device speaks of."""
    device.failed = {B: (-2147024784, 256, 101)}
    device.pending = {C: 3}
    bench.approve(A)
    device.check_in()
    with bench.database.read() as conn:
        listed: list[DeviceUpdateView] = list_device_updates(conn, 1, now=bench.now)
    assert [view.update_id for view in listed] == [A, B, C]
    assert [explained(bench, view.update_id).update for view in listed] == listed
