"""Rollbacks in real sessions of virtual devices: the order of things, and never twice."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from csp.classifications import CLASSIFICATIONS, SECURITY_UPDATES
from csp.rollback import RollbackKind, rollback_action
from mdm.rollbacks.checkin import record_rollbacks
from mdm.rollbacks.store import cancel_rollback, release_rollback
from syncml.client import Outcome
from syncml.exchange import Answer
from syncml.messages import Item, Location

if TYPE_CHECKING:
    from conftest import Ward

    from mdm.audit import Origin

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ROLLBACK = "./Vendor/MSFT/Update/Rollback"
PAUSE = "./Device/Vendor/MSFT/Policy/Config/Update/PauseQualityUpdatesStartTime"
RESULT = PAUSE.replace("Config", "Result")
UPGRADES = next(guid for guid, name in CLASSIFICATIONS.items() if name == "Upgrades")
ASK, EXEC = f"Get {ROLLBACK}/QualityUpdateStatus", f"Exec {ROLLBACK}/QualityUpdate"


def told(ward: Ward, device_id: str = "PC1") -> int:
    """How often the device was told to roll back."""
    return ward.pcs[device_id].device.asked.count(EXEC)


def test_a_rollback_from_the_pause_to_its_proof(ward: Ward) -> None:
    """Paused and asked first, then told, then asked again; the lists prove it, and the pause stays."""
    pc = ward.enrol()
    job = ward.ask("PC1")
    assert ward.outcome(job).state == "waiting"
    ward.pass_time()
    first = pc.check_in()
    assert first == [f"Replace {PAUSE}", ASK, EXEC]
    assert pc.windows.state.rollbacks == {"quality": "Rolled back"}
    found = ward.outcome(job)
    assert (found.state, found.status_code, found.version_before) == ("executed", 200, "10.0.22631.4460")
    ward.pass_time()
    second = pc.check_in()
    assert second == [f"Get {RESULT}", ASK]
    found = ward.outcome(job)
    assert (found.state, found.sentence) == (
        "rolled_back",
        "Rolled back: update 00000000-0000-4000-8000-000000000002 is no longer installed.",
    )
    assert found.status_text == "Rolled back"
    assert ward.steps() == ["sent", "executed", "rolled_back"]
    # The update stays away while it is paused, and nothing more is said.
    for _ in range(3):
        ward.pass_time(2 * DAY)
        assert not {EXEC, ASK, f"Delete {PAUSE}"} & set(pc.check_in())
    assert [each.update.update_id[-1] for each in pc.windows.installed()] == ["1"]
    assert pc.windows.state.policies["PauseQualityUpdatesStartTime"] == job.pause_from


def test_the_title_is_told_where_the_catalogue_has_it(ward: Ward) -> None:
    """And the kind is checked: what is of another one proves nothing."""
    pc = ward.enrol()
    ward.bench.catalogue(
        "00000000-0000-4000-8000-000000000002", title="KB1", classification_id=SECURITY_UPDATES
    )
    job = ward.ask("PC1")
    for _ in range(2):
        ward.pass_time()
        pc.check_in()
    assert ward.outcome(job).sentence == "Rolled back: 'KB1' is no longer installed."


def test_an_update_of_another_kind_proves_nothing(ward: Ward) -> None:
    """A feature update that is gone is no rollback of a quality update."""
    pc = ward.enrol()
    ward.bench.catalogue("00000000-0000-4000-8000-000000000002", title="22H2", classification_id=UPGRADES)
    job = ward.ask("PC1")
    for _ in range(2):
        ward.pass_time()
        pc.check_in()
    assert ward.outcome(job).state == "executed"


def test_a_feature_update_is_rolled_back(ward: Ward) -> None:
    """By its own nodes and its own pause."""
    pc = ward.enrol(classification=UPGRADES)
    job = ward.ask("PC1", kind=RollbackKind.FEATURE)
    ward.pass_time()
    assert [each.rpartition("/")[2] for each in pc.check_in()] == [
        "PauseFeatureUpdatesStartTime",
        "FeatureUpdateStatus",
        "FeatureUpdate",
    ]
    ward.pass_time()
    pc.check_in()
    assert ward.outcome(job).state == "rolled_back"


def test_an_older_build_proves_it(ward: Ward) -> None:
    """Even if no list says anything."""
    pc = ward.enrol()
    version = "./DevDetail/SwV"
    pc.device.answers[f"{ROLLBACK}/QualityUpdate"] = Outcome(200)
    job = ward.ask("PC1")
    ward.pass_time()
    pc.check_in()
    assert ward.outcome(job).state == "executed"
    pc.device.answers[version] = Outcome(200, (Item(source=Location(version), data="10.0.22631.4391"),))
    ward.pass_time()
    pc.check_in()
    assert (
        ward.outcome(job).sentence == "Rolled back: its build went from 10.0.22631.4460 to 10.0.22631.4391."
    )


def test_what_the_device_says_of_a_failure_is_told(ward: Ward) -> None:
    """With what its HRESULT means."""
    pc = ward.enrol()
    pc.windows.state = type(pc.windows.state)(policies=pc.windows.state.policies)
    job = ward.ask("PC1")
    pc.offers.clear()
    ward.pass_time()
    assert EXEC in pc.check_in()
    ward.pass_time()
    # Nothing is to be kept away from it any more.
    assert pc.check_in()[-1] == f"Delete {PAUSE}"
    found = ward.outcome(job)
    assert found.state == "failed"
    assert "there is no update of this kind" in found.sentence
    assert found.sentence.endswith("No update in the operation applies to this device.")


def test_no_failure_is_read_from_an_old_status(ward: Ward) -> None:
    """What it said before it was told is no answer; neither are words that nobody knows."""
    pc = ward.enrol()
    status = f"{ROLLBACK}/QualityUpdateStatus"
    pc.device.answers[f"{ROLLBACK}/QualityUpdate"] = Outcome(200)
    job = ward.ask("PC1", days=2)
    for text in ("0x80240017", "0x80240017", "under way", "Fehlgeschlagen"):
        pc.device.answers[status] = Outcome(200, (Item(source=Location(status), data=text),))
        ward.pass_time()
        pc.check_in()
        assert ward.outcome(job).state == "executed"
    assert ward.outcome(job).status_text == "Fehlgeschlagen"
    ward.pass_time(2 * DAY)
    assert ward.outcome(job).state == "unconfirmed"
    assert ASK not in pc.check_in()


def test_an_unknown_failure_is_told_as_it_is(ward: Ward) -> None:
    """With its number."""
    pc = ward.enrol()
    status = f"{ROLLBACK}/QualityUpdateStatus"
    pc.device.answers[f"{ROLLBACK}/QualityUpdate"] = Outcome(200)
    job = ward.ask("PC1")
    ward.pass_time()
    pc.check_in()
    pc.device.answers[status] = Outcome(200, (Item(source=Location(status), data="0x8ABCDEF0"),))
    ward.pass_time()
    pc.check_in()
    assert ward.outcome(job).sentence == (
        "The device did not roll back and says '0x8ABCDEF0'. What that means is not known here."
    )


def test_a_command_whose_answer_never_came_is_not_repeated(ward: Ward) -> None:
    """The reply with it went out and the session broke off: it is asked for its status, and only that."""
    pc = ward.enrol()
    pc.device.answers[f"{ROLLBACK}/QualityUpdate"] = Outcome(200)
    job = ward.ask("PC1", days=1)
    ward.pass_time()
    _break_off(ward)
    assert (ward.outcome(job).state, ward.outcome(job).status_code) == ("sent", None)
    for _ in range(3):
        ward.pass_time()
        asked = pc.check_in()
        assert EXEC not in asked
        assert ASK in asked
    ward.pass_time(DAY)
    found = ward.outcome(job)
    assert (found.state, told(ward)) == ("unconfirmed", 0)
    assert "not told twice" in found.sentence
    assert ward.bench.rows("rollback_device")[0]["sends"] == 1


def test_a_command_that_was_carried_out_unanswered_is_found_out(ward: Ward) -> None:
    """The lists of the next session prove it."""
    pc = ward.enrol()
    job = ward.ask("PC1")
    ward.pass_time()
    _break_off(ward, carried_out=True)
    assert ward.outcome(job).state == "sent"
    ward.pass_time()
    assert EXEC not in pc.check_in()
    assert ward.outcome(job).state == "rolled_back"


def _break_off(ward: Ward, *, carried_out: bool = False) -> None:
    """A session that ends when the command has come, carried out or not, and before it is answered."""
    pc = ward.pcs["PC1"]
    pc.windows.advance(ward.bench.now)
    device = pc.device
    device.sessions += 1
    device.proving = True
    message, state = device.begin(str(device.sessions))
    for _ in range(9):
        turn = device.say(message, state)
        uris = [
            command.items[0].target.loc_uri for command in turn.commands if type(command).__name__ == "Exec"
        ]
        if uris:
            if carried_out:
                pc.windows.roll_back("quality", ward.bench.now)
            return
        message, state = device.answer(turn)
    raise AssertionError("the command does not come")


@pytest.mark.parametrize(
    ("outcome", "state", "sentence"),
    [
        (Outcome(405), "failed", "This Windows cannot roll back quality updates (status 405)."),
        (Outcome(404), "failed", "This Windows cannot roll back quality updates (status 404)."),
        (Outcome(403), "failed", "The device declined to roll back (status 403)."),
        (
            Outcome(500, original_error="0x80070005"),
            "failed",
            "The device declined to roll back (status 500). Access to a file or registry key was denied.",
        ),
        (Outcome(213), "sent", "The device was told to roll back."),
    ],
)
def test_what_the_device_answers(ward: Ward, outcome: Outcome, state: str, sentence: str) -> None:
    """A refusal is final; an answer that says nothing leaves it open."""
    pc = ward.enrol()
    pc.device.answers[f"{ROLLBACK}/QualityUpdate"] = outcome
    job = ward.ask("PC1")
    ward.pass_time()
    pc.check_in()
    found = ward.outcome(job)
    assert (found.state, found.sentence) == (state, sentence)
    ward.pass_time()
    assert EXEC not in pc.check_in()


def test_a_command_that_was_not_looked_at_is_told_again(ward: Ward) -> None:
    """In the next session, and three times at most."""
    pc = ward.enrol()
    pc.device.answers[f"{ROLLBACK}/QualityUpdate"] = Outcome(215)
    job = ward.ask("PC1")
    states = []
    for _ in range(4):
        ward.pass_time()
        pc.check_in()
        states.append(ward.outcome(job).state)
    assert states == ["waiting", "waiting", "failed", "failed"]
    assert told(ward) == 3
    assert ward.outcome(job).sentence == "The device declined to roll back (status 215)."


def test_a_message_that_was_refused_takes_the_command_back(ward: Ward) -> None:
    """A device that wants the bridge's credentials has not looked at it: it comes again, and counts once."""
    ward.bench.now += HOUR
    device = ward.bench.enrol("PC1", server_auth="syncml:auth-md5")
    device.installed = {"00000000-0000-4000-8000-000000000002": 200}
    taken: list[str] = []
    answers: dict[str, Outcome] = {
        PAUSE: Outcome(200),
        f"{ROLLBACK}/QualityUpdateStatus": Outcome(200),
        f"{ROLLBACK}/QualityUpdate": Outcome(200),
    }
    device.answers.update(answers)
    device.check_in()
    job = ward.ask("PC1")
    weigh, doubted = device._weigh, []

    def doubt(turn: Any, reply: Any) -> Any:
        verbs = [type(command).__name__ for command in turn.commands]
        if "Exec" in verbs and not doubted:
            doubted.append(verbs)
            device.server_nonce = b"another nonce 99"
        taken.append(ward.outcome(job).state)
        return weigh(turn, reply)

    device._weigh = doubt
    ward.pass_time()
    device.check_in()
    assert doubted
    assert ward.steps() == ["sent", "waiting", "sent", "executed"]
    assert device.asked.count(EXEC) == 1
    assert ward.bench.rows("rollback_device")[0]["sends"] == 1


def test_without_the_pause_nothing_is_told(ward: Ward) -> None:
    """A device that does not take the policy waits, and says what for."""
    pc = ward.enrol()
    pc.device.answers[PAUSE] = Outcome(500)
    job = ward.ask("PC1", days=1)
    for _ in range(2):
        ward.pass_time()
        assert EXEC not in pc.check_in()
    assert ward.outcome(job).sentence == "Waits until the device confirms the pause of quality updates."
    ward.pass_time(DAY)
    assert ward.outcome(job).state == "expired"
    assert EXEC not in pc.check_in()


def test_a_windows_without_the_nodes_is_not_told(ward: Ward) -> None:
    """It answers 404 to the question, whatever its build is; nothing stays paused."""
    pc = ward.enrol()
    pc.device.answers[f"{ROLLBACK}/QualityUpdateStatus"] = Outcome(404)
    job = ward.ask("PC1")
    ward.pass_time()
    asked = pc.check_in()
    assert EXEC not in asked
    found = ward.outcome(job)
    assert (found.state, found.status_code) == ("refused", 404)
    ward.pass_time()
    assert f"Delete {PAUSE}" in [*asked, *pc.check_in()]


def test_a_question_that_fails_does_not_stop_it(ward: Ward) -> None:
    """There is nothing to compare with then; one that was not looked at is asked again."""
    pc = ward.enrol()
    status = f"{ROLLBACK}/QualityUpdateStatus"
    pc.device.answers[status] = Outcome(215)
    job = ward.ask("PC1")
    ward.pass_time()
    assert EXEC not in pc.check_in()
    pc.device.answers[status] = Outcome(500)
    ward.pass_time()
    assert EXEC in pc.check_in()
    ward.pass_time()
    pc.check_in()
    assert (ward.outcome(job).state, ward.outcome(job).status_text) == ("rolled_back", None)


def test_a_condition_that_is_not_met_is_told_at_once(ward: Ward) -> None:
    """The device is neither paused nor told."""
    pc = ward.enrol()
    job = ward.ask("PC1")
    ward.know("PC1", os_version="10.0.16299.15", identity_read_at=ward.bench.now + DAY)
    ward.pass_time()
    assert pc.check_in() == []
    found = ward.outcome(job)
    assert (found.state, found.sentence.split(";")[0]) == ("refused", "Its Windows is 10.0.16299.15")
    assert ward.steps() == ["refused"]


def test_a_cancelled_rollback_reaches_nobody(ward: Ward, origin: Origin) -> None:
    """Devices that were told go on; the others are let alone, and not paused any longer."""
    first, second = ward.enrol("PC1"), ward.enrol("PC2")
    job = ward.ask("PC1", "PC2")
    ward.pass_time()
    first.check_in()
    with ward.bench.database.write() as conn:
        _, already = cancel_rollback(conn, origin, job.id, now=ward.bench.now)
    assert already == 1
    ward.pass_time()
    assert second.check_in() == []
    assert ASK in first.check_in()
    assert [ward.outcome(job, each).state for each in ("PC1", "PC2")] == ["rolled_back", "cancelled"]
    assert "PauseQualityUpdatesStartTime" in first.windows.state.policies


def test_updates_flow_again_once_they_are_let(ward: Ward, origin: Origin) -> None:
    """The pause is taken off, and the update comes back."""
    pc = ward.enrol()
    job = ward.ask("PC1")
    for _ in range(2):
        ward.pass_time()
        pc.check_in()
    with ward.bench.database.write() as conn:
        release_rollback(conn, origin, job.id, now=ward.bench.now)
    ward.pass_time()
    assert pc.check_in() == [f"Delete {PAUSE}"]
    ward.pass_time(3 * DAY)
    pc.check_in()
    assert {each.update.update_id[-1] for each in pc.windows.installed()} == {"1", "2"}
    assert ward.outcome(job).state == "rolled_back"


def test_what_comes_after_a_release_is_still_written_down(ward: Ward, origin: Origin) -> None:
    """A device that had been told by then still says what came of it."""
    pc = ward.enrol()
    job = ward.ask("PC1")
    ward.pass_time()
    pc.check_in()
    with ward.bench.database.write() as conn:
        release_rollback(conn, origin, job.id, now=ward.bench.now)
    ward.pass_time()
    pc.check_in()
    assert ward.outcome(job).state == "rolled_back"


def test_the_pause_ends_by_itself(ward: Ward) -> None:
    """After 35 days it means nothing to Windows, and is taken off."""
    pc = ward.enrol()
    job = ward.ask("PC1")
    for _ in range(2):
        ward.pass_time()
        pc.check_in()
    ward.bench.now = job.paused_until
    assert f"Delete {PAUSE}" in pc.check_in()


def test_rollbacks_of_both_kinds_run_side_by_side(ward: Ward) -> None:
    """Each by its own nodes; the build is asked for once."""
    pc = ward.enrol()
    for verb in ("QualityUpdate", "FeatureUpdate"):
        pc.device.answers[f"{ROLLBACK}/{verb}"] = Outcome(200)
    ward.ask("PC1")
    ward.ask("PC1", kind=RollbackKind.FEATURE)
    for _ in range(2):
        ward.pass_time(DAY)
        before = len(pc.device.asked)
        pc.check_in()
        assert pc.device.asked[before:].count("Get ./DevDetail/SwV") == 1
    assert [row["state"] for row in ward.bench.rows("rollback_device")] == ["executed", "executed"]


def test_a_status_that_nobody_asked_for_changes_nothing(ward: Ward) -> None:
    """A session that began before the rollback was asked for, or an answer after its end."""
    pc = ward.enrol()
    pc.device.answers[f"{ROLLBACK}/QualityUpdate"] = Outcome(200)
    job = ward.ask("PC1", days=1)
    ward.pass_time()
    pc.check_in()
    before = ward.bench.rows("rollback_device")
    request = rollback_action(RollbackKind.QUALITY)
    with ward.bench.database.write() as connection:
        # The row is executed, no longer sent: a second answer is no news.
        assert record_rollbacks(connection, 1, [Answer(request, 500)], ward.bench.now)
        # No answer is no answer.
        assert not record_rollbacks(connection, 1, [Answer(request, None)], ward.bench.now)
    assert ward.bench.rows("rollback_device") == before
    assert ward.outcome(job).state == "executed"
