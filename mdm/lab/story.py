"""The story of the demo: ten devices, an upstream, a bridge and an administrator, and a check after each step.

What is checked is never the bridge's word alone: the lists are read from the devices' own trees, with the same
Gets a server would send, and compared.
"""

from __future__ import annotations

import json
import re
import textwrap
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from csp.classifications import CLASSIFICATIONS, DEFINITION_UPDATES
from csp.hresult import format_hresult
from mdm.clock import utc_now
from mdm.lab.bridge import BridgeDown
from mdm.lab.device import Patience, SessionEnd, VirtualDevice
from mdm.lab.enrol import ApiProblem, BridgeAway
from mdm.lab.enrolment_errors import EnrolmentFailed
from mdm.lab.link import connect
from mdm.lab.renewing import renew_now
from mdm.lab.schedule import minutes_to_next
from mdm.lab.tables import render_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Future

    import httpx2

    from mdm.lab.cast import Cast, Member
    from mdm.lab.device import SessionReport
    from mdm.lab.store import DeviceCertificate

__all__ = ["NotHeldError", "StepResult", "Story"]

_WIDTH: Final = 116
_TITLE: Final = 60
"""Characters of an update's title in a table."""
_BOILERPLATE: Final = re.compile(
    r" for x64(-based Systems| based Edition)?(?= |$)| - Current Channel( \(Broad\))?| Version(?= \d\dH\d)"
)
_SYNC_WITHIN: Final = 30.0
"""Seconds a sync against a server on the same machine gets."""
_LINES_SHOWN: Final = 4
"""Lines of the licence terms that are printed."""
_SELF_ENROLLED: Final = 8
"""Devices of the ten that enrol themselves."""
_FIRST_POLLS: Final = 14
"""Polls after the enrolment that are told: beyond the quick ones."""
_NO_PATIENCE: Final = Patience(attempts=1)
_KILL_AFTER: Final = 2
"""Replies after which the bridge is killed: the second brings the approvals."""


class NotHeldError(Exception):
    """A check of the story did not hold; the text says what was expected and what was found."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step came to."""

    number: int
    title: str
    seconds: float
    problem: str | None
    """None: it held."""


class Story:
    """The steps in their order; each is a method that raises `NotHeldError`."""

    def __init__(self, cast: Cast, say: Callable[[str], object]) -> None:
        """`say` takes each line as it happens."""
        self.cast = cast
        self._say = say
        self._approved: set[str] = set()
        """UpdateIDs and classifications whose approval is to reach the devices."""

    def play(self) -> list[StepResult]:
        """Play the steps until one does not hold; the results of those played."""
        results: list[StepResult] = []
        for number, (title, step) in enumerate(self._steps(), start=1):
            self._say(f"\n{number:2}. {title}")
            start = time.monotonic()
            problem = None
            try:
                step()
            except (NotHeldError, ApiProblem, BridgeAway, BridgeDown, EnrolmentFailed) as error:
                problem = str(error)
            seconds = time.monotonic() - start
            results.append(StepResult(number, title, seconds, problem))
            self._tell("holds" if problem is None else f"DOES NOT HOLD: {problem}")
            if problem is not None:
                break
        return results

    def _steps(self) -> list[tuple[str, Callable[[], None]]]:
        return [
            ("A WSUS and the bridge start", self.start),
            ("Eight devices enrol themselves, two are made by IT", self.enrol),
            ("The devices check in for the first time", self.report),
            ("The bridge asks the WSUS about these updates", self.sync),
            ("IT approves a cumulative update for all devices", self.approve_cumulative),
            ("IT approves an update with licence terms, and is stopped", self.meet_licence),
            ("IT reads the terms, accepts them, and approves again", self.accept_licence),
            ("IT approves Definition Updates as a class", self.approve_class),
            ("IT approves an update that no WSUS offers: it is held", self.approve_unknown),
            ("The devices check in and receive exactly what is approved", self.deliver),
            ("The devices install; one fails, some wait for a restart", self.install),
            ("Four devices restart", self.restart),
            ("The bridge is killed in the middle of a session, and restarted", self.kill),
            ("A device renews its certificate before it ends", self.renew),
            ("A device that shows another one's certificate is refused", self.impersonate),
            ("IT retires a device: it leaves, and its certificate is worth nothing", self.retire),
            ("Where every device and every update stands", self.stand),
        ]

    # --- the steps ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """The bridge gets ready and an administrator has a token."""
        cast = self.cast
        # Before the start: a running service notices a new authority only some seconds later.
        cast.bridge.make_authority()
        cast.bridge.start()
        cast.api = cast.connect()
        self._tell(
            f"WSUS at {cast.upstream_url} with {len(cast.catalogue.documents)} revisions, "
            f"{len(cast.catalogue.visible())} of them updates an administrator would see"
        )
        self._tell(f"bridge at {cast.bridge.url}, its data in {cast.bridge.data_dir}")
        self._tell(
            "it speaks TLS with a certificate made for the purpose, and has a certificate authority of its own"
        )
        self._check(not list(cast.api.every("/devices")), "the bridge has devices already")

    def enrol(self) -> None:
        """Most join by MS-MDE2, with a domain and a token, the others over REST; the bridge has heard of none yet."""
        cast = self.cast
        made = cast.api.post(
            "/enrolment-tokens", {"name": "demo", "max_uses": _SELF_ENROLLED, "expires_in_hours": 1}
        )
        self._tell(
            f"IT makes one token for {made['max_uses']} devices, good for an hour; users know it and {cast.domain}"
        )
        members = cast.members = cast.enrol(cast.api, made["token"], self._tell_all)
        by_themselves = [member for member in members if member.device.record.certificate is not None]
        others = [member.name for member in members if member.device.record.certificate is None]
        self._check(len(by_themselves) == _SELF_ENROLLED, f"{len(by_themselves)} have a certificate")
        old = [member.name for member in by_themselves if member.windows_name.startswith("Windows 10")]
        self._tell_all(
            f"{' and '.join(old)} asked in the form of Windows 10, which common certificate libraries refuse to read"
        )
        self._tell(f"{len(by_themselves)} devices have a certificate and speak mutual TLS from now on")
        self._tell_schedule(by_themselves)
        self._tell(f"{' and '.join(others)} prove themselves in each message, with credentials made by IT")
        used = cast.api.get(f"/enrolment-tokens/{made['id']}")["uses"]
        self._check(used == _SELF_ENROLLED, f"the token was used {used} times")
        for system, count in Counter(member.windows_name for member in members).items():
            self._tell(f"{count} x {system}")
        known = {each["id"]: each["last_checkin_at"] for each in self.cast.api.every("/devices")}
        expected: dict[str, str | None] = {member.id: None for member in members}
        self._check(known == expected, f"the bridge lists {known}")

    def report(self) -> None:
        """Each device is asked for its lists; of what is in them nothing is known yet."""
        self._check_in()
        titles = {row["update_id"]: row["title"] for row in self._rows()}
        self._tell(f"10 devices report {len(titles)} updates nobody here has heard of")
        self._check(not any(titles.values()), "some of them have a title before any sync")
        self._compare()
        self._tell("what the bridge wrote down is what the devices' own trees show")

    def sync(self) -> None:
        """One sync fetches the metadata of everything but what the upstream does not offer."""
        api = self.cast.api
        run = api.post("/catalog/syncs")
        deadline = time.monotonic() + _SYNC_WITHIN
        while run["state"] in {"queued", "running"}:
            self._check(time.monotonic() < deadline, f"the sync is {run['state']} after {_SYNC_WITHIN:.0f} s")
            time.sleep(0.1)
            run = api.get(f"/catalog/syncs/{run['id']}")
        self._check(run["state"] == "succeeded", f"the sync {run['state']}: {run['error']}")
        self._tell(
            f"{run['fetched']} of {run['needed']} revisions fetched, {run['not_offered']} not offered there, "
            f"{run['eula_texts']} licence texts, {run['bytes_received'] // 1024} KiB"
        )
        untitled = {row["update_id"] for row in self._rows() if row["title"] is None}
        self._check(untitled == {self.cast.props.unknown.update_id}, f"without metadata are {untitled}")
        self._check(run["fetched"] + run["not_offered"] == run["needed"], "the counts do not add up")

    def approve_cumulative(self) -> None:
        """An approval of one update for the group of all devices is active at once."""
        self._approve("update", self.cast.props.cumulative.update_id)

    def meet_licence(self) -> None:
        """An approval that would accept licence terms nobody has accepted is refused, and says which."""
        update = self.cast.props.licensed
        try:
            self._approve("update", update.update_id, deliver=False)
        except ApiProblem as problem:
            named = {eula["id"] for eula in problem.body.get("eulas", ())}
            self._check(
                (problem.status, problem.code) == (409, "eula_not_accepted"), f"it is refused with {problem}"
            )
            self._check(named == {update.eula_id}, f"the refusal names the licences {named}")
            self._tell_all(f"refused (409): {problem.detail}")
        else:
            raise NotHeldError("it was approved although nobody has accepted its licence terms")

    def accept_licence(self) -> None:
        """The text is shown and accepted by its hash; then the approval goes through."""
        update, api = self.cast.props.licensed, self.cast.api
        eula = api.get(f"/eulas/{update.eula_id}", locale="en")
        lines = [line for line in eula["text"].splitlines() if line.strip()]
        for line in lines[:_LINES_SHOWN]:
            self._tell(f"| {textwrap.shorten(line, _WIDTH - 8, placeholder=' …')}")
        self._tell(f"| … {len(lines) - _LINES_SHOWN} lines more, in {len(eula['texts'])} languages")
        accepted = api.post(
            f"/eulas/{update.eula_id}/accept", {"locale": eula["locale"], "text_sha256": eula["text_sha256"]}
        )
        self._tell(f"accepted by {accepted['accepted_by']}, text {accepted['text_sha256'][:16]}…")
        self._approve("update", update.update_id)

    def approve_class(self) -> None:
        """A classification's GUID stands for all updates of it, also those to come."""
        self._approve("classification", DEFINITION_UPDATES)

    def approve_unknown(self) -> None:
        """Nobody can know whether it has licence terms, so it waits, and the device's page says why."""
        unknown = self.cast.props.unknown.update_id
        approval = self._approve("update", unknown, deliver=False)
        self._check(approval["effective_state"] == "held", f"it is {approval['effective_state']}")
        reasons = {row["reason"]: row["reason_text"] for row in self._rows() if row["update_id"] == unknown}
        self._check(reasons.keys() == {"metadata_not_offered"}, f"the reasons are {reasons}")
        self._tell_all(reasons["metadata_not_offered"])

    def deliver(self) -> None:
        """Afterwards each device's own ApprovedUpdates is exactly what is approved and applies to it."""
        self._check_in()
        for member in self.cast.members:
            self._check_approved(member)
        total = sum(len(member.listed("ApprovedUpdates")) for member in self.cast.members)
        self._tell(
            f"{total} approvals on {len(self.cast.members)} devices, read from the devices: no more, no less"
        )
        unenforced = [
            member.name
            for member in self.cast.members
            if member.device.windows.state.policies.get("RequireUpdateApproval") != "1"
        ]
        self._check(not unenforced, f"without RequireUpdateApproval are {unenforced}")
        self._tell("every device now installs approved updates only (policy RequireUpdateApproval)")

    def install(self) -> None:
        """Installations take hours in life and no time here; what came of them flows back."""
        for member in self.cast.members:
            member.device.windows.hurry(utc_now())
            member.device.save()
        self._check_in()
        self._compare()
        rows = list(self._rows())
        failed = [row for row in rows if row["state"] == "failed"]
        waiting = [row for row in rows if row["state"] == "pending_reboot"]
        self._check(len(failed) == 1, f"{len(failed)} failed")
        self._check(len(waiting) > 1, f"{len(waiting)} wait for a restart")
        self._tell(f"{failed[0]['device']}: {_short(failed[0]['title'])}")
        self._tell(f"  {failed[0]['reason_text']}")
        hresults = {
            member.name: format_hresult(job.hresult or 0)
            for member in self.cast.members
            for job in member.device.windows.failed()
        }
        self._check(hresults == {failed[0]["device"]: failed[0]["hresult"]}, f"the devices say {hresults}")
        self._tell(
            f"{len(waiting)} devices wait for a restart: {', '.join(row['device'] for row in waiting)}"
        )
        for member in self.cast.members:
            self._check_installed(member)
        self._tell("no device has installed anything that is not approved")

    def restart(self) -> None:
        """What waited for a restart is installed after it; a device that was not restarted still waits."""
        waiting = [member for member in self.cast.members if member.device.windows.pending_reboot()]
        restarted, left = waiting[:4], waiting[4:]
        for member in restarted:
            member.device.windows.restart(utc_now())
            member.device.save()
        self._check_in()
        self._compare()
        still = {row["device"] for row in self._rows() if row["state"] == "pending_reboot"}
        self._check(still == {member.name for member in left}, f"waiting are {still}")
        self._tell(f"restarted: {', '.join(member.name for member in restarted)}")
        self._tell(f"still waiting: {', '.join(sorted(still)) or 'none'}")

    def kill(self) -> None:
        """SIGKILL between two messages of a session: no approval is lost, and none is delivered twice."""
        self._approve("update", self.cast.props.later.update_id)
        victim, *others = self.cast.members
        report = self._check_in_through_a_kill(victim)
        self._check(report.ok, f"the session ended {report.end}: {report.detail}")
        adds = [command.status for command in report.commands if command.verb == "Add"]
        self._check(adds == [200], f"the device answered {adds} to approvals")
        self._tell_all(
            f"{victim.name} was told to approve it, the bridge died, the device asked {report.resends} times "
            "more until the bridge was back, and the session went on"
        )
        self._check_in(others)
        for member in self.cast.members:
            self._check_approved(member)
        again = self._session(victim)
        self._check(all(command.verb == "Get" for command in again.commands), "something was sent twice")
        self._compare()
        self._tell("nothing lost, nothing twice: the devices' lists and the bridge's are the same")

    def stand(self) -> None:
        """What IT would look at: counts, reasons, and how fresh they are."""
        rows = list(self._rows())
        self._table(
            ("DEVICE", "WINDOWS", "INSTALLED", "FAILED", "RESTART", "OFFERED", "AS OF"), self._by_device(rows)
        )
        self._say("")
        self._table(("UPDATE", "DEVICES", "STATE", "WHY"), _by_update(rows))
        self._compare()
        unexplained = [row["update_id"] for row in rows if not row["reason_text"]]
        self._check(not unexplained, f"no reason is given for {unexplained}")

    def renew(self) -> None:
        """A new key and a new certificate, asked for with the old one; that is worth nothing once the new is shown."""
        member = self._member("FINANCE-02")
        before = member.certificate
        self._tell(
            f"{member.name} looks for a new one in the last {24 * before.renew_days} hours; here it does not wait for them"
        )
        renew_now(member.device, utc_now())
        after = member.certificate
        self._check(_serial(after) != _serial(before), "the certificate is the same")
        self._check(after.key_pem != before.key_pem, "the key is the same")
        self._tell(
            f"{member.name}: {_serial(before)[:16]}… is replaced by {_serial(after)[:16]}…, with a new key"
        )
        self._check_in([member])
        self._tell("it has checked in with the new one; so the bridge takes the old one back")
        self._check_refused(member, before, "revoked")

    def impersonate(self) -> None:
        """Whoever has a good certificate is that device, whatever else it says of itself."""
        thief, victim = self._member("DESIGN-05"), self._member("DESIGN-06")
        self._tell(
            f"somebody on {thief.name} claims to be {victim.name}, and shows {thief.name}'s own certificate"
        )
        self._check_refused(victim, thief.certificate, "belongs to")
        self._check_in([thief, victim])
        self._tell("both devices check in as before")

    def retire(self) -> None:
        """It is told, says goodbye, and keeps nothing of the management; a copy of its key opens nothing."""
        cast, member = self.cast, self._member("PLANT-10")
        stolen = replace(member, device=self._impostor(member, member.certificate))
        cast.api.post(f"/devices/{member.id}/retire", {"reason": "sold"})
        told, goodbye = self._session(member), self._session(member)
        self._check(told.end is SessionEnd.UNENROLLED, f"the first session ended {told.end}: {told.detail}")
        self._check(
            all("Unenroll" in each.loc_uri for each in told.commands), "it was sent something else, too"
        )
        self._check(goodbye.ok and not goodbye.commands, f"the goodbye ended {goodbye.end}: {goodbye.detail}")
        self._check(member.device.has_left, "the device has not left")
        record = member.device.record
        left = {**record.windows.policies, **record.windows.approved, **record.provisioned}
        self._check(record.certificate is None and not left, f"the device has kept {sorted(left)}")
        self._tell(
            f"{member.name} is told to leave, says goodbye, and has no account, certificate or settings any more"
        )
        state = cast.api.get(f"/devices/{member.id}")["state"]
        self._check(state == "unenrolled", f"for the bridge it is {state}")
        states = {each["state"] for each in cast.api.every("/certificates", device=member.id)}
        self._check(states == {"revoked"}, f"its certificates are {states}")
        self._tell("the bridge has taken its certificate back; a copy of it, made in time, opens nothing:")
        self._refused(stolen, "unenrolled")
        cast.members.remove(member)

    # --- what the steps share ----------------------------------------------------------------------------

    def _tell(self, text: str) -> None:
        self._say(f"    {text}")

    def _tell_all(self, text: str) -> None:
        """A sentence that may be too long for one line."""
        for line in textwrap.wrap(text, _WIDTH - 4):
            self._tell(line)

    def _check(self, holds: bool, problem: str) -> None:  # noqa: FBT001 - the condition itself
        if not holds:
            raise NotHeldError(problem)

    def _member(self, name: str) -> Member:
        return next(member for member in self.cast.members if member.name == name)

    def _impostor(self, member: Member, certificate: DeviceCertificate) -> VirtualDevice:
        """A device with that one's identity and account, and with this certificate."""
        record = replace(member.device.record, certificate=certificate)
        http = connect(record.link, certificate)
        return VirtualDevice(record, self.cast.thieves, lambda _: (), http=http, patience=_NO_PATIENCE)

    def _check_refused(self, member: Member, certificate: DeviceCertificate, reason: str) -> None:
        self._refused(replace(member, device=self._impostor(member, certificate)), reason)

    def _tell_schedule(self, members: list[Member]) -> None:
        """When a device comes by itself, by the settings in its own tree; all were told the same."""
        plans = {
            tuple(minutes_to_next(member.device.windows.settings, done) for done in range(_FIRST_POLLS))
            for member in members
        }
        self._check(len(plans) == 1, f"they have different schedules: {plans}")
        *first, last = accumulate(plans.pop())
        self._tell(
            f"they will poll {', '.join(map(str, first))} and {last} minutes after their enrolment, and so on"
        )

    def _refused(self, impostor: Member, reason: str) -> None:
        """Its session is refused, the log says why, and of the device it pretends to be nothing has changed."""
        seen = self.cast.api.get(f"/devices/{impostor.id}")["last_checkin_at"]
        log = self.cast.bridge.log_path
        size = log.stat().st_size
        with impostor.device.http:
            report = self._session(impostor)
        self._check(report.end is SessionEnd.REFUSED, f"the session ended {report.end}: {report.detail}")
        self._check(not report.commands, "it was sent commands")
        now = self.cast.api.get(f"/devices/{impostor.id}")["last_checkin_at"]
        self._check(now == seen, "it counts as a check-in")
        lines = log.read_bytes()[size:].decode().splitlines()
        said = "; ".join(json.loads(line)["why"] for line in lines if '"dm_refused"' in line)
        self._check(reason in said, f"the log does not say that it is {reason}, but: {said or 'nothing'}")
        self._tell_all(f"refused ({report.detail}); the log says: {said}")

    def _session(self, member: Member) -> SessionReport:
        return member.device.check_in(utc_now())

    def _check_in(self, members: Iterable[Member] | None = None) -> None:
        """All at once, as after lunch; every session must be completed."""
        with ThreadPoolExecutor(len(self.cast.members)) as pool:
            reports = list(pool.map(self._session, self.cast.members if members is None else members))
        for report in reports:
            self._check(report.ok, f"a session of {report.device_id} ended {report.end}: {report.detail}")

    def _check_in_through_a_kill(self, member: Member) -> SessionReport:
        """The session of one device; after its second reply the bridge is killed and, meanwhile, restarted."""
        bridge = self.cast.bridge
        replies = 0
        restarts: list[Future[None]] = []

        def kill(response: httpx2.Response) -> None:
            nonlocal replies
            response.read()
            replies += 1
            if replies == _KILL_AFTER:
                bridge.kill()
                restarts.append(pool.submit(bridge.start))

        http = member.device.http
        with ThreadPoolExecutor(1) as pool:
            http.event_hooks = {"response": [kill]}
            try:
                report = self._session(member)
            finally:
                http.event_hooks = {}
        for restart in restarts:
            restart.result()
        self._check(bool(restarts), f"the session was over after {replies} messages")
        return report

    def _approve(self, kind: str, target: str, *, deliver: bool = True) -> dict[str, Any]:
        approval: dict[str, Any] = self.cast.api.post(
            "/approvals",
            {"target": {"type": kind, "id": target}, "action": "approve", "group_ids": ["all-devices"]},
        )
        name = approval["target"]["title"] or CLASSIFICATIONS.get(target, target)
        self._tell(f"{_short(name)}: {approval['effective_state']}")
        if deliver:
            self._check(approval["effective_state"] == "active", f"it is {approval['effective_state']}")
            self._approved.add(target)
        return approval

    def _rows(self) -> Iterable[dict[str, Any]]:
        """What the bridge says of every update of every device."""
        for member in self.cast.members:
            for row in self.cast.api.every(f"/devices/{member.id}/updates"):
                yield {**row, "device": member.name}

    def _compare(self) -> None:
        """The bridge's state of each update is the one the device's own tree shows."""
        told: dict[str, dict[str, str]] = {member.name: {} for member in self.cast.members}
        for row in self._rows():
            told[row["device"]][row["update_id"]] = row["state"]
        for member in self.cast.members:
            shown = member.states()
            differing = {
                update_id: (told[member.name].get(update_id), shown.get(update_id))
                for update_id in told[member.name].keys() | shown.keys()
                if told[member.name].get(update_id) != shown.get(update_id)
            }
            self._check(not differing, f"{member.name}: bridge and device differ in {differing}")

    def _check_approved(self, member: Member) -> None:
        """ApprovedUpdates of the device holds what is approved and applies, the class, and nothing else."""
        listed = member.listed("ApprovedUpdates")
        expected = self._approved & (member.applicable | CLASSIFICATIONS.keys())
        self._check(
            listed == expected,
            f"{member.name} has {len(listed - expected)} too many and lacks {len(expected - listed)}",
        )

    def _check_installed(self, member: Member) -> None:
        """What the device has installed since it was enrolled is approved, by itself or by its class."""
        done = member.listed("InstalledUpdates") | member.listed("PendingRebootUpdates")
        stray = [
            update_id
            for update_id in done - member.comes_with
            if not self._approved & {update_id, member.class_of(update_id)}
        ]
        self._check(not stray, f"{member.name} has installed {stray}, which nobody approved")

    def _by_device(self, rows: list[dict[str, Any]]) -> Iterable[tuple[str, ...]]:
        for member in self.cast.members:
            states = Counter(row["state"] for row in rows if row["device"] == member.name)
            as_of = self.cast.api.get(f"/devices/{member.id}")["as_of"]
            numbers = (str(states[name]) for name in ("installed", "failed", "pending_reboot", "installable"))
            yield (member.name, member.windows_name, *numbers, f"{as_of[:19].replace('T', ' ')} UTC")

    def _table(self, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
        for line in render_table(header, rows, width=_WIDTH).splitlines():
            self._tell(line)


def _by_update(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """One row for each update and reason; what the devices came with is left out."""
    counts = Counter(
        (row["title"] or f"(no metadata) {row['update_id']}", row["state"], row["reason_text"])
        for row in rows
        if row["approved"] or row["state"] != "installed"
    )
    return [
        (_short(title), str(count), state.replace("_", " "), reason)
        for (title, state, reason), count in sorted(counts.items())
    ]


def _serial(certificate: DeviceCertificate) -> str:
    """The serial number, as `csp-bridge ca issued` writes it."""
    return f"{x509.load_pem_x509_certificate(certificate.certificate_pem.encode()).serial_number:x}"


def _short(title: str) -> str:
    """A title that fits: without what all of them say, and cut before the version or KB in its end."""
    title = _BOILERPLATE.sub("", title)
    if len(title) <= _TITLE:
        return title
    _, bracket, end = title.rpartition(" (")
    tail = f"… ({end}" if bracket and len(end) < _TITLE // 2 else "…"
    return title[: _TITLE - len(tail)].rstrip() + tail
