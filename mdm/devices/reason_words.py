"""The sentences of `mdm.devices.reasons`, in words an administrator understands at three in the morning."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from csp import hresult
from mdm.approvals.decision import CLASSIFICATION, Hold
from mdm.devices.case import SILENT_AFTER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mdm.approvals.decision import Intent
    from mdm.devices.case import Case, Newer, Refusal, RolloutFacts

_FOREVER: Final = datetime.max.replace(tzinfo=UTC)

_STATES: Final = {
    "installed": "installed on the device",
    "pending_reboot": "installed on the device but for a restart",
    "installable": "offered to the device instead",
    "failed": "offered to the device instead, where it failed",
}


# --- what the device says -------------------------------------------------------------------------------


def installed(_case: Case) -> str:
    """It is there."""
    return "Installed."


def pending_reboot(case: Case) -> str:
    """It is there but for a restart, since when."""
    since = "" if case.report is None else f" since {_moment(case.report.since)}"
    return f"Installed, but waiting for a restart of the device{since}."


def unenrolled(case: Case) -> str:
    """Nothing can be said to the device any more."""
    assert case.heard.unenrolled_at is not None  # noqa: S101 - what the table asked
    return (
        f"The device left management on {_moment(case.heard.unenrolled_at)}; nothing reaches it until it is enrolled "
        "again."
    )


def retiring(case: Case) -> str:
    """It is to leave, and gets nothing more."""
    heard = case.heard
    assert heard.retire_requested_at is not None  # noqa: S101 - what the table asked
    told = (
        "it is told so at its next session"
        if heard.retire_told_at is None
        else f"it was told so on {_moment(heard.retire_told_at)}"
    )
    asked = f"The device was asked to leave management on {_moment(heard.retire_requested_at)}"
    if case.shut_out is not None:
        return f"{asked} and cannot be told any more: retire it at once. {case.shut_out.ending()}"
    return f"{asked}: {told}, and gets no updates meanwhile. Cancel its retirement to go on."


def certificate_ended(case: Case) -> str:
    """It cannot prove itself any more, and cannot mend that by itself."""
    assert case.shut_out is not None  # noqa: S101 - what the table asked
    return case.shut_out.ending()


def unknown_update(case: Case) -> str:
    """Nobody has heard of it."""
    approved = " It is approved all the same." if case.approvals else ""
    return f"Unknown update: neither the catalogue nor any device has named this id.{approved}"


def has_not_told(case: Case) -> bool:
    """Whether the device has told nothing that could say whether it lacks the update."""
    heard = case.heard
    if heard.lists_read_at is None or heard.installed_read_at is None or not heard.has_scanned:
        return True
    looked = heard.scanned_at or heard.lists_read_at
    return case.released is not None and min(looked, heard.lists_read_at) < case.released


def never_reported(case: Case) -> str:
    """What is missing before anything can be said."""
    heard = case.heard
    if heard.last_checkin_at is None:
        return "Not reported: the device has never checked in."
    seen = f"it was last seen {_moment(heard.last_checkin_at)}"
    if heard.lists_read_at is None or heard.installed_read_at is None:
        return f"Not reported: the device has not told all of its updates yet; {seen}."
    if not heard.has_scanned:
        return f"Not reported: the device has never completed a scan for updates; {seen}."
    looked = min(heard.scanned_at or heard.lists_read_at, heard.lists_read_at)
    assert case.released is not None  # noqa: S101 - what the table asked
    return (
        f"Not reported: what the device told is from {_moment(looked)}, before this update of "
        f"{_moment(case.released)}; {seen}."
    )


def superseded(case: Case) -> str:
    """Another one stands in its place."""
    return f"Replaced by {_list([_newer(each) for each in case.newer])}; the device does not offer it."


def withdrawn(_case: Case) -> str:
    """Microsoft has taken it back."""
    return "Microsoft has withdrawn this update, and the device does not offer it."


def not_applicable(case: Case) -> str:
    """The device has looked, and does not want it."""
    heard = case.heard
    when = heard.scanned_at or heard.lists_read_at
    told = " The approval stands on the device already." if case.delivered else ""
    return f"Not applicable: the device scanned {_moment(when)} and does not offer this update.{told}"


def install_failed(case: Case) -> str:
    """With what, how often, and what to do."""
    report = case.report
    assert report is not None  # noqa: S101 - what the table asked
    often = report.failures > 1
    failed = (
        f"Windows has failed to install it {_times(report.failures)}, "
        if often
        else "Windows tried to install it and failed"
    )
    if report.hresult is None:
        return f"{failed}{'' if often else ', '}without saying why."
    failed += f"{'the last time ' if often else ' '}with {hresult.format_hresult(report.hresult)}"
    meaning = hresult.describe(report.hresult)
    told = advice(case)
    return (f"{failed}: {meaning}" if meaning else f"{failed}.") + (f" {told}" if told else "")


def advice(case: Case) -> str | None:
    """What to try first about a failure."""
    report = case.report
    if report is None or report.state != "failed" or report.hresult is None:
        return None
    return hresult.advise(report.hresult)


# --- what IT has decided --------------------------------------------------------------------------------


def blocked(case: Case) -> str:
    """Tell of the block that lasts longest: until it is over, the others make no difference."""
    block = _longest(case.blocks)
    until = "" if block.expires_at is None else f" until {_moment(block.expires_at)}"
    what = {
        "update": "Blocked",
        CLASSIFICATION: "Its classification is blocked",
        "product": "Its product is blocked",
        "query": "A saved query that it matches is blocked",
    }[block.target_type]
    told = f" {_on_device(case)}" if case.delivered else ""
    return f"{what} for this device{until} ({block.approval_id}): {(block.reason or '').rstrip('.')}.{told}"


def _on_device(case: Case) -> str:
    """What becomes of an approval that the device has and should not have any more."""
    if case.delivered_at is None:
        return "The device may install it all the same: the approval it has is not from this bridge."
    if case.withdrawal_refused:
        return "The device may install it all the same: its build of Windows refuses to forget an approval."
    return (
        "The device may install it until its next check-in, when it is told to forget the approval; not every Windows "
        "does."
    )


def block_ends(case: Case) -> datetime | None:
    """When that block is over."""
    return _longest(case.blocks).expires_at


def _longest(blocks: Sequence[Intent]) -> Intent:
    return max(blocks, key=lambda each: (each.expires_at or _FOREVER, each.approval_id))


def not_approved(_case: Case) -> str:
    """Nobody wants it there."""
    return "Not approved for any group this device is in."


def delivered(case: Case) -> str:
    """Since when Windows may install it, and what keeps it from asking us."""
    if not case.approvals:
        return f"No approval holds for it any more. {_on_device(case)}"
    enforced = case.enforced
    if enforced is not None and enforced.status == "unsupported":
        return (
            "Approved and delivered; the device does not know the policy RequireUpdateApproval, so Windows "
            "decides by itself when to install."
        )
    if enforced is not None and enforced.status == "failed":
        return (
            "Approved and delivered; Windows decides by itself when to install, because the device refused the "
            f"policy RequireUpdateApproval with {_refusal(enforced.status_code, enforced.error)}"
        )
    since = "" if case.delivered_at is None else f" on {_moment(case.delivered_at)}"
    scans = ""
    if case.scans:
        scans = f", after {_count(case.scans, 'successful scan', 'successful scans')}"
    return f"Approved and delivered{since}; Windows has not installed it yet{scans}."


def unsupported_on_build(case: Case) -> str:
    """Its Windows has no approval list."""
    refusal = case.refusals[min(case.going)]
    return (
        "Approved, but this build or edition of Windows takes no approvals: the device answered with "
        f"{_refusal(refusal.status, refusal.error)} Manage it by policies."
    )


def refused_by_device(case: Case) -> str:
    """How it refused, and that it is asked again."""
    refusal: Refusal = case.refusals[min(case.going)]
    return (
        f"Approved, but the device refused the approval with {_refusal(refusal.status, refusal.error)} It gets it "
        "again at its next check-in."
    )


def awaiting_checkin(case: Case) -> str:
    """It goes as soon as the device is there, if that is in time."""
    given = [
        each for each in case.approvals if (case.update_id if each.expands else each.target_id) in case.going
    ]
    seen = case.heard.last_checkin_at
    silent = ""
    if seen is not None and case.now - seen > SILENT_AFTER:
        silent = f" The device has not been seen since {_moment(seen)}."
    return f"Approved; it goes to the device at its next check-in{_if_before(given, case.now)}.{silent}"


def _if_before(approvals: Iterable[Intent], now: datetime) -> str:
    """`, if that is before …`, where every approval that is due comes to an end."""
    ends = [each.expires_at for each in approvals if each.waits(now) is None]
    last = max((end or _FOREVER for end in ends), default=_FOREVER)
    return "" if last == _FOREVER else f", if that is before {_moment(last)}"


# --- why it is held -------------------------------------------------------------------------------------


def block_inside(case: Case) -> str:
    """The GUID of its classification would approve something blocked."""
    inside = _list(case.blocked_inside) if case.blocked_inside else "an update"
    return (
        f"Approved with its classification, but held: of the same classification {inside} is blocked, "
        "and on the device the classification would approve that too. Approve the classification as expanded."
    )


def not_before(case: Case) -> str:
    """The earliest time that is to come."""
    return f"Approved, but not to be delivered before {_moment(begins(case))}."


def begins(case: Case) -> datetime | None:
    """When the first of its approvals begins."""
    return min(
        (each.not_before for each in case.approvals if each.not_before and each.not_before > case.now),
        default=None,
    )


def rollout_turn(case: Case) -> str:
    """How far the gradual offer has come."""
    rollout, number = _rollout(case, Hold.ROLLOUT_TURN)
    ring = next(each for each in rollout.rings if each.number == number)
    part = "" if ring.offered is None else f"; the turn of {100 * ring.offered:.0f} % of them has come so far"
    return (
        f"Approved, but {_named(rollout)} offers it to the devices of ring {number} ({ring.name!r}) little by little, "
        f"and this one's turn has not come{part}."
    )


def rollout_gate(case: Case) -> str:
    """Which ring has to come first, and what that one waits for."""
    rollout, number = _rollout(case, Hold.ROLLOUT_GATE)
    ring = next(each for each in rollout.rings if each.number == number)
    before = [each for each in rollout.rings if each.number < number and each.state != "passed"]
    when = ""
    if ring.opens_at is not None and ring.opens_at > case.now:
        when = f"; it begins {_moment(ring.opens_at)} at the earliest"
    if before and before[0].state == "running":
        asked = (
            "waits for a second person to agree"
            if before[0].promotion == "asked"
            else "has not passed its gate"
        )
        when = f": ring {before[0].number} ({before[0].name!r}) {asked}{when}"
    return f"Approved, but in {_named(rollout)} ring {number} ({ring.name!r}) has not begun{when}."


def rollout_paused(case: Case) -> str:
    """Who paused it, when and why."""
    rollout, _ = _rollout(case, Hold.ROLLOUT_PAUSED)
    remark = rollout.state_reason.get("remark")
    why = f": {str(remark).rstrip('.')}" if remark else ""
    return f"Approved, but {_named(rollout)} has been paused by {rollout.state_by} since {_moment(rollout.state_at)}{why}."


def rollout_halted(case: Case) -> str:
    """With how many failures it halted."""
    rollout, _ = _rollout(case, Hold.ROLLOUT_HALTED)
    reason = rollout.state_reason
    figures = ""
    if "failed" in reason and "outcomes" in reason:
        figures = f": {reason['failed']} of the {reason['outcomes']} devices that were done had failed"
    return (
        f"Approved, but {_named(rollout)} halted itself {_moment(rollout.state_at)}{figures}. Somebody has to look "
        "and resume it."
    )


def _rollout(case: Case, hold: Hold) -> tuple[RolloutFacts, int]:
    """The rollout that keeps it back so, and the device's ring in it."""
    intent = min((each for each in case.gated if each.gate is hold), key=lambda each: each.approval_id)
    return case.rollouts[intent.rollout_id or ""], intent.stage or 0


def _named(rollout: RolloutFacts) -> str:
    return f"the rollout {rollout.name!r} ({rollout.id})"


def metadata_not_offered(_case: Case) -> str:
    """Nobody can tell its licence, and the way out."""
    return (
        "Approved, but held: no upstream offers its metadata, so nobody can tell whether it has a "
        "licence to accept. Approve it with allow_without_metadata to deliver it all the same."
    )


def metadata_unknown(_case: Case) -> str:
    """The next sync will tell."""
    return (
        "Approved, but held until its metadata arrives with the next catalogue sync: only then is it "
        "known whether it has a licence to accept."
    )


def expired(_case: Case) -> str:
    """Microsoft has withdrawn it, though the device offers it still."""
    return "Approved, but Microsoft has withdrawn this update."


def held_as_superseded(case: Case) -> str:
    """What replaces it, and how to deliver it all the same."""
    newer = (
        _list([f"{each.title!r} ({each.update_id})" for each in case.newer]) if case.newer else "a newer one"
    )
    what = {each.target_type for each in case.approvals}
    whole = "its classification" if what == {CLASSIFICATION} else "others"
    return f"Approved with {whole}, but replaced by {newer}. Approve it by itself to deliver it all the same."


def eula(case: Case) -> str:
    """Which licence nobody has accepted."""
    if case.held_target != case.update_id:
        licences = f" (EULA {_list(case.open_eulas)})" if case.open_eulas else ""
        return (
            "Approved with its classification, but held: on the device the classification would accept a licence "
            f"that nobody has accepted{licences}."
        )
    licence = "" if case.known is None else f" (EULA {case.known.eula_id})"
    return f"Approved, but held: nobody has accepted its licence{licence}."


def window(case: Case) -> str:
    """When it may go."""
    opens = (
        "and none is to come"
        if case.window_opens is None
        else f"and the next opens {_moment(case.window_opens)}"
    )
    return f"Approved, but no maintenance window of the device is open, {opens}."


# --- words ----------------------------------------------------------------------------------------------


def _newer(newer: Newer) -> str:
    state = _STATES.get(newer.state or "")
    return f"{newer.title!r} ({newer.update_id})" + (f", which is {state}" if state else "")


def _list(words: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    return words[0] if len(words) == 1 else f"{words[0]} and {len(words) - 1} more"


def _moment(moment: datetime | None) -> str:
    return "at an unknown time" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def _times(number: int) -> str:
    return "twice" if number == 2 else f"{number} times"  # noqa: PLR2004 - a word of its own


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _refusal(status: int | None, error: str | None) -> str:
    """The end of a sentence: `status 500 (0x80070005): Access … denied.`, or as much of it as is known."""
    if error is None:
        return f"status {status}."
    meaning = hresult.explain(error)
    return f"status {status} ({error}): {meaning}" if meaning else f"status {status} ({error})."
