"""A sync run against an upstream on a real socket: what it asks for, stores, remembers, and survives."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update
from sqlmodel import SQLModel

from mdm.catalog import runs
from mdm.catalog.queries import get_update
from mdm.catalog.store import enqueue_needed
from mdm.catalog.sync import run_sync
from mdm.catalog.upstreams import UpstreamChange, change_upstream, ensure_upstream, read_replica
from mdm.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

A, B, C, D, E = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcde")
SECURITY = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
WINDOWS = "72e7624a-5b00-45d2-b92f-e561c0a6a160"
DETECTOID = "12345678-0000-4000-8000-000000000000"
EULA = "11111111-0000-4000-8000-000000000000"
LICENCE = "Licence €".encode("utf-16")
LOGIN = ["GetAuthConfig", "GetAuthorizationCookie", "GetCookie"]


@pytest.fixture
def list_categories(document: Callable[..., str]) -> Callable[[Any], None]:
    """Give an upstream a small category list."""

    def fill(upstream: Any) -> None:
        for text in (
            document(SECURITY, 1, update_type="Category", category_type="UpdateClassification", title="old"),
            document(
                SECURITY, 100, update_type="Category", category_type="UpdateClassification", title="Security"
            ),
            document(WINDOWS, 101, update_type="Category", category_type="Product", title="Windows 11"),
            document(DETECTOID, 7, update_type="Detectoid"),
        ):
            upstream.add(text, listed=True)

    return fill


def need(bench: Any, *pairs: tuple[str, int]) -> None:
    """Let a device report revisions."""
    with bench.database.write() as connection:
        enqueue_needed(connection, pairs, bench.clock())


def queue(bench: Any) -> dict[tuple[str, int], tuple[str, str | None]]:
    """State and error of all needed revisions."""
    return {
        (row["update_id"], row["revision_number"]): (row["state"], row["error"])
        for row in bench.rows("needed_revision")
    }


def prove(bench: Any, document: Callable[..., str]) -> None:
    """Let the upstream give something, so that what it refuses is not taken for an illness."""
    bench.upstream.add(document(D, 1, update_type="Detectoid"), listed=True)


def operations(upstream: Any) -> list[str]:
    """What was called, in order."""
    return [name for name, _ in upstream.calls]


def remembered(bench: Any) -> tuple[str | None, str | None]:
    """Config and category anchor."""
    anchors = {row["list"]: row["anchor"] for row in bench.rows("upstream_anchor")}
    return anchors.get("config"), anchors.get("categories")


def test_a_run_fetches_categories_updates_and_licences(
    bench: Any, document: Callable[..., str], list_categories: Callable[[Any], None]
) -> None:
    """From an empty store to an update with its title, classification and licence text."""
    list_categories(bench.upstream)
    eula = (EULA, {"en": LICENCE, "de": b"Lizenz"})
    bench.upstream.add(document(A, 200, title="Cumulative", categories=(SECURITY, WINDOWS), eula=eula))
    bench.upstream.offer_file("/en.txt", LICENCE)
    need(bench, (A, 200))
    run = bench.sync()
    assert (run.state, run.error, run.phase) == ("succeeded", None, "eulas")
    assert (run.categories, run.needed, run.fetched, run.not_offered, run.failed) == (2, 1, 1, 0, 0)
    assert run.eula_texts == 1
    assert run.bytes_received > 1000
    with bench.database.read() as connection:
        view = get_update(connection, A)
    assert view is not None
    assert (view.title, view.source_state) == ("Cumulative", "synced")
    assert view.classification is not None
    assert view.classification.title == "Security"
    texts = {row["locale"]: row for row in bench.rows("eula_text")}
    assert texts["en"]["text"] == "Licence €"
    assert texts["en"]["text_sha256"] == hashlib.sha256(LICENCE).hexdigest()
    assert texts["de"]["url"].startswith(f"{bench.upstream.url}/Content/")
    assert "HTTP 404" in texts["de"]["error"]
    assert queue(bench) == {(A, 200): ("synced", None)}
    assert operations(bench.upstream)[:8] == [
        *LOGIN,
        "GetConfigData",
        "GetRevisionIdList",
        "GetUpdateData",
        "GetUpdateData",
        "/Content" + texts["de"]["url"].partition("/Content")[2],
    ]


def test_the_category_list_is_asked_for_once_and_then_by_anchor(
    sqlite_bench: Any, document: Callable[..., str], list_categories: Callable[[Any], None]
) -> None:
    """Of each id the highest revision only; the anchors are sent back as they came."""
    upstream = sqlite_bench.upstream
    list_categories(upstream)
    sqlite_bench.sync()
    assert sorted(upstream.asked_ids()) == sorted([(SECURITY, 100), (WINDOWS, 101), (DETECTOID, 7)])
    assert remembered(sqlite_bench) == ("config 1", "anchor 1")
    assert "<Anchor>" not in upstream.asked("GetRevisionIdList")[0]
    upstream.calls.clear()
    run = sqlite_bench.sync()
    assert operations(upstream) == [*LOGIN, "GetConfigData", "GetRevisionIdList"]
    assert "<configAnchor>config 1</configAnchor>" in upstream.asked("GetConfigData")[0]
    assert "<Anchor>anchor 1</Anchor>" in upstream.asked("GetRevisionIdList")[0]
    assert (run.state, run.categories) == ("succeeded", 0)


def test_a_lower_listed_revision_is_not_fetched(
    sqlite_bench: Any, document: Callable[..., str], list_categories: Callable[[Any], None]
) -> None:
    """What is stored is higher, so there is nothing to learn."""
    upstream = sqlite_bench.upstream
    list_categories(upstream)
    sqlite_bench.sync()
    upstream.anchor = "anchor 2"
    upstream.listed = [(SECURITY, 1)]
    upstream.calls.clear()
    sqlite_bench.sync()
    assert upstream.asked_ids() == []
    assert remembered(sqlite_bench)[1] == "anchor 2"


def test_the_anchor_is_not_kept_while_something_of_the_list_is_missing(
    sqlite_bench: Any, document: Callable[..., str], list_categories: Callable[[Any], None]
) -> None:
    """One category not offered, one unreadable: the rest is stored, and the next run asks for those two only."""
    upstream = sqlite_bench.upstream
    list_categories(upstream)
    upstream.listed.append((A, 1))
    upstream.updates[B, 1] = "<not-an-update/>"
    upstream.listed.append((B, 1))
    run = sqlite_bench.sync()
    assert (run.state, run.categories, run.failed) == ("succeeded", 2, 1)
    assert remembered(sqlite_bench)[1] is None
    upstream.calls.clear()
    upstream.add(document(A, 1, update_type="Category"))
    upstream.add(document(B, 1, update_type="Category"))
    assert sqlite_bench.sync().categories == 2
    assert set(upstream.asked_ids()) == {(A, 1), (B, 1)}
    assert remembered(sqlite_bench)[1] == "anchor 1"


def test_an_upstream_that_gives_nothing_of_its_list_fails_the_run(sqlite_bench: Any) -> None:
    """Instead of being asked for each of thousands alone."""
    upstream = sqlite_bench.upstream
    upstream.listed = [(f"{number:08x}-0000-4000-8000-000000000000", 1) for number in range(300)]
    run = sqlite_bench.sync()
    assert (run.state, run.error) == ("failed", "the upstream gives nothing of what it lists")
    assert len(upstream.asked("GetUpdateData")) < 50


def test_batches_keep_to_the_upstreams_limit(sqlite_bench: Any, document: Callable[..., str]) -> None:
    """And to ours, if it names none."""
    upstream = sqlite_bench.upstream
    ids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(7)]
    for each in ids:
        upstream.add(document(each, 1, update_type="Detectoid"), listed=True)
    upstream.max_updates = 3
    sqlite_bench.sync()
    assert [body.count("<UpdateID>") for body in upstream.asked("GetUpdateData")] == [3, 3, 1]
    (row,) = sqlite_bench.rows("upstream")
    assert row["max_updates_per_request"] == 3
    upstream.max_updates = 0
    assert sqlite_bench.sync().state == "succeeded"


# --- what devices need ----------------------------------------------------------------------------------


def test_one_unknown_update_costs_the_others_nothing(bench: Any, document: Callable[..., str]) -> None:
    """It is marked and asked for again a day later; a broken document an hour later."""
    bench.upstream.add(document(A, 200))
    bench.upstream.add(document(B, 200))
    bench.upstream.updates[C, 200] = document(C, 201)
    bench.upstream.updates[E, 200] = "<broken"
    need(bench, (A, 200), (B, 200), (C, 200), (D, 200), (E, 200))
    run = bench.sync()
    assert (run.needed, run.fetched, run.not_offered, run.failed) == (5, 2, 1, 2)
    states = queue(bench)
    assert {key[0][0]: state for key, (state, _) in states.items()} == {
        "a": "synced",
        "b": "synced",
        "c": "failed",
        "d": "not_offered",
        "e": "failed",
    }
    assert states[C, 200][1] == f"the document is that of {C}.201"
    assert states[D, 200][1] == "The upstream does not offer this update."
    bench.upstream.calls.clear()

    bench.clock.now += timedelta(hours=1, seconds=1)
    bench.sync("schedule")
    assert set(bench.upstream.asked_ids()) == {(C, 200), (E, 200)}
    bench.upstream.calls.clear()

    bench.clock.now += timedelta(hours=23)
    bench.sync("schedule")
    assert (D, 200) in bench.upstream.asked_ids()


def test_a_manual_run_asks_for_everything_that_is_missing(
    sqlite_bench: Any, document: Callable[..., str]
) -> None:
    """Whoever starts one wants an answer now."""
    prove(sqlite_bench, document)
    need(sqlite_bench, (A, 200))
    assert sqlite_bench.sync().not_offered == 1
    sqlite_bench.upstream.add(document(A, 200))
    run = sqlite_bench.sync()
    assert (run.needed, run.fetched) == (1, 1)
    assert queue(sqlite_bench)[A, 200] == ("synced", None)


def test_another_revision_stands_in_for_one_that_is_not_offered(
    bench: Any, document: Callable[..., str]
) -> None:
    """The update's highest, as the upstream tells it; and the queue says so."""
    bench.upstream.add(document(A, 203, title="newer"))
    bench.upstream.related[A] = [(A, 201), (A, 203), (B, 900)]
    need(bench, (A, 202))
    run = bench.sync()
    assert (run.fetched, run.not_offered) == (1, 0)
    assert queue(bench)[A, 202] == ("synced", "Revision 202 is not offered; revision 203 stands in.")
    with bench.database.read() as connection:
        view = get_update(connection, A)
    assert view is not None
    assert (view.title, view.revision_number) == ("newer", 203)


def test_a_stored_revision_stands_in_without_a_call(sqlite_bench: Any, document: Callable[..., str]) -> None:
    """What another device's report has brought serves this one too."""
    sqlite_bench.upstream.add(document(A, 200))
    need(sqlite_bench, (A, 200), (A, 201))
    assert sqlite_bench.sync().fetched == 2
    assert queue(sqlite_bench)[A, 201] == (
        "synced",
        "Revision 201 is not offered; revision 200 stands in.",
    )
    assert sqlite_bench.upstream.asked("GetRelatedRevisionsForUpdates") == []


def test_a_report_without_a_revision_is_answered_by_the_highest(
    bench: Any, document: Callable[..., str]
) -> None:
    """Found by the update's id; where anything is stored already, without a call."""
    bench.upstream.add(document(A, 203))
    bench.upstream.add(document(B, 1))
    bench.upstream.related[A] = [(A, 203)]
    need(bench, (A, 0), (B, 0), (B, 1), (C, 0))
    assert bench.sync().fetched == 3
    assert queue(bench) == {
        (A, 0): ("synced", None),
        (B, 0): ("synced", None),
        (B, 1): ("synced", None),
        (C, 0): ("not_offered", "The upstream does not offer this update."),
    }
    need(bench, (A, 0))
    asked = [body for body in bench.upstream.asked("GetRelatedRevisionsForUpdates") if B in body]
    assert asked == []


def test_what_was_stored_meanwhile_is_settled_without_a_call(
    sqlite_bench: Any, document: Callable[..., str]
) -> None:
    """As after a crash between storing and noting."""
    sqlite_bench.upstream.add(document(A, 200))
    need(sqlite_bench, (A, 200))
    sqlite_bench.sync()
    table = SQLModel.metadata.tables["needed_revision"]
    with sqlite_bench.database.write() as connection:
        connection.execute(update(table).values(state="queued"))
    sqlite_bench.upstream.calls.clear()
    assert sqlite_bench.sync().fetched == 1
    assert sqlite_bench.upstream.asked("GetUpdateData") == []


@pytest.mark.parametrize(
    ("stand_in", "state", "reason"),
    [
        (None, "not_offered", "The upstream does not offer this update."),
        ("<broken", "failed", "the document cannot be read"),
    ],
)
def test_a_stand_in_that_cannot_be_had_is_told_apart(
    sqlite_bench: Any, document: Callable[..., str], stand_in: str | None, state: str, reason: str
) -> None:
    """Named but not offered, or offered but unreadable."""
    prove(sqlite_bench, document)
    sqlite_bench.upstream.related[A] = [(A, 203)]
    if stand_in is not None:
        sqlite_bench.upstream.updates[A, 203] = stand_in
    need(sqlite_bench, (A, 0))
    sqlite_bench.sync()
    held, error = queue(sqlite_bench)[A, 0]
    assert held == state
    assert error is not None
    assert reason in error


def test_an_unusable_answer_about_relatives_is_no_relative(
    sqlite_bench: Any, document: Callable[..., str]
) -> None:
    """Old servers do not know the call; the update is then simply not offered."""
    prove(sqlite_bench, document)
    sqlite_bench.upstream.related[A] = [("not a guid", 1)]
    sqlite_bench.upstream.related[B] = [(B, 200)]
    need(sqlite_bench, (A, 0), (B, 200))
    assert sqlite_bench.sync().not_offered == 2


def test_a_fault_of_the_whole_upstream_about_relatives_fails_the_run(sqlite_bench: Any) -> None:
    """It is not taken for an answer about the update."""
    sqlite_bench.upstream.faults = [("GetRelatedRevisionsForUpdates", "IncompatibleProtocolVersion")]
    need(sqlite_bench, (A, 0))
    run = sqlite_bench.sync()
    assert run.state == "failed"
    assert run.error is not None
    assert "IncompatibleProtocolVersion" in run.error
    assert queue(sqlite_bench)[A, 0] == ("queued", None)


# --- faults of the upstream -----------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["InvalidCookie", "CookieExpired"])
def test_an_expired_cookie_is_renewed_within_the_run(
    sqlite_bench: Any, list_categories: Callable[[Any], None], code: str
) -> None:
    """The run goes on where it was; the anchors stay."""
    list_categories(sqlite_bench.upstream)
    sqlite_bench.upstream.faults = [("GetRevisionIdList", code)]
    assert sqlite_bench.sync().state == "succeeded"
    assert operations(sqlite_bench.upstream).count("GetCookie") == 2
    assert operations(sqlite_bench.upstream).count("GetConfigData") == 1


@pytest.mark.parametrize("code", ["ServerChanged", "InvalidParameters"])
def test_a_changed_server_is_asked_again_without_anchors(
    sqlite_bench: Any, list_categories: Callable[[Any], None], code: str
) -> None:
    """Its database was replaced, or another product answers there now; what is stored is not fetched again."""
    upstream = sqlite_bench.upstream
    list_categories(upstream)
    sqlite_bench.sync()
    upstream.calls.clear()
    upstream.anchor, upstream.config_anchor = "anchor 2", "config 2"
    upstream.faults = [("GetRevisionIdList", code)]
    assert sqlite_bench.sync().state == "succeeded"
    assert remembered(sqlite_bench) == ("config 2", "anchor 2")
    assert "<Anchor>" not in upstream.asked("GetRevisionIdList")[1]
    assert upstream.asked_ids() == []


def test_a_server_that_keeps_changing_fails_the_run(sqlite_bench: Any) -> None:
    """Once per run is enough."""
    sqlite_bench.upstream.faults = [("GetConfigData", "ServerChanged")] * 2
    run = sqlite_bench.sync()
    assert run.error == "the upstream refused the call: ServerChanged"
    assert (run.state, run.phase) == ("failed", "config")


def test_invalid_parameters_without_anchors_are_not_the_anchors_fault(sqlite_bench: Any) -> None:
    """Then there is nothing to forget."""
    sqlite_bench.upstream.faults = [("GetConfigData", "InvalidParameters")]
    assert sqlite_bench.sync().state == "failed"
    assert operations(sqlite_bench.upstream).count("GetConfigData") == 1


def test_an_upstream_that_is_down_fails_the_run_with_a_sentence(sqlite_bench: Any) -> None:
    """And leaves the queue as it was."""
    need(sqlite_bench, (A, 200))
    sqlite_bench.upstream.broken = {"GetConfigData"}
    run = sqlite_bench.sync()
    assert run.state == "failed"
    assert run.error is not None
    assert run.error.endswith("answered HTTP 503")
    assert run.finished_at is not None
    assert queue(sqlite_bench)[A, 200] == ("queued", None)


# --- licences -------------------------------------------------------------------------------------------


def test_a_licence_that_cannot_be_had_costs_only_its_row(
    sqlite_bench: Any, document: Callable[..., str]
) -> None:
    """Wrong bytes, no text, a bad URL, a missing one: each says why, the run succeeds, and the next tries again."""
    upstream = sqlite_bench.upstream
    texts = {"de": b"Lizenz", "en": b"licence", "fr": b"\0", "it": b"licenza"}
    upstream.add(document(A, 200, eula=(EULA, texts)))
    for language, data in texts.items():
        upstream.offer_file(f"/{language}", data)
    upstream.files["/de"] = b"other"
    upstream.urls = {digest: path if path != "/it" else "bad:[" for digest, path in upstream.urls.items()}
    need(sqlite_bench, (A, 200))
    run = sqlite_bench.sync()
    assert (run.state, run.eula_texts) == ("succeeded", 1)
    errors = {row["locale"]: row["error"] for row in sqlite_bench.rows("eula_text")}
    assert errors["en"] is None
    assert errors["de"] == "the file's SHA-1 is not the one in the metadata"
    assert errors["fr"] == "the file is not a text"
    assert errors["it"].startswith("a URL")
    upstream.files["/de"] = b"Lizenz"
    assert sqlite_bench.sync().eula_texts == 1
    assert upstream.calls.count(("/en", "")) == 1


def test_a_host_that_is_down_is_asked_once_per_run(sqlite_bench: Any, document: Callable[..., str]) -> None:
    """Thirty languages would otherwise wait thirty times."""
    upstream = sqlite_bench.upstream
    texts = {language: language.encode() for language in ("de", "en", "fr")}
    upstream.add(document(A, 200, eula=(EULA, texts)))
    for language, data in texts.items():
        upstream.offer_file(f"/{language}", data)
    upstream.broken = {"/de"}
    need(sqlite_bench, (A, 200))
    assert sqlite_bench.sync().state == "succeeded"
    assert [name for name in operations(upstream) if name.startswith("/")] == ["/de", "/de"]
    assert all(row["error"].endswith("answered HTTP 503") for row in sqlite_bench.rows("eula_text"))
    upstream.broken = set()
    assert sqlite_bench.sync().eula_texts == 3


# --- interruption ---------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, nothing is tidied up."""


@pytest.mark.parametrize("at", range(1, 9))
def test_a_killed_run_goes_on_where_it_stopped(
    sqlite_bench: Any, document: Callable[..., str], list_categories: Callable[[Any], None], at: int
) -> None:
    """Killed before any of its calls and taken up again, it fetches nothing twice and ends the same."""
    upstream, clock = sqlite_bench.upstream, sqlite_bench.clock
    list_categories(upstream)
    upstream.add(document(A, 200, categories=(SECURITY,), eula=(EULA, {"en": LICENCE})))
    upstream.add(document(B, 200))
    upstream.offer_file("/en", LICENCE)
    upstream.max_updates = 1
    need(sqlite_bench, (A, 200), (B, 200))
    run, client = sqlite_bench.claim(), sqlite_bench.client()
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        if calls > at:
            raise Killed
        return False

    with pytest.raises(Killed):
        run_sync(sqlite_bench.database, client, run, clock=clock, should_stop=stop)
    clock.now += timedelta(minutes=6)
    again = sqlite_bench.claim()
    assert again.id == run.id
    ended = run_sync(sqlite_bench.database, sqlite_bench.client(), again, clock=clock)
    assert (ended.state, ended.categories, ended.fetched, ended.eula_texts) == ("succeeded", 2, 2, 1)
    assert (ended.needed, ended.failed) == (2, 0)
    asked = upstream.asked_ids()
    assert len(asked) == len(set(asked)) == 5
    assert {row["state"] for row in sqlite_bench.rows("needed_revision")} == {"synced"}


def test_a_stopped_run_is_queued_again(sqlite_bench: Any, list_categories: Callable[[Any], None]) -> None:
    """Not failed: it goes on when its worker does."""
    list_categories(sqlite_bench.upstream)
    run = sqlite_bench.sync(should_stop=lambda: len(sqlite_bench.upstream.calls) >= 5)
    assert (run.state, run.finished_at, run.error) == ("queued", None, None)
    assert run.bytes_received > 0
    assert sqlite_bench.sync().id == run.id


def test_a_long_run_shows_that_it_is_alive(sqlite_bench: Any, document: Callable[..., str]) -> None:
    """Half a minute of silence is the most, however many tries a call takes."""
    beats: list[Any] = []

    def slowly(_operation: str) -> None:
        sqlite_bench.clock.now += timedelta(seconds=31)
        (row,) = sqlite_bench.rows("sync_run")
        beats.append(sqlite_bench.clock.now - row["heartbeat_at"])

    sqlite_bench.upstream.before = slowly
    need(sqlite_bench, *((f"{number:08x}-0000-4000-8000-000000000000", 0) for number in range(5)))
    assert sqlite_bench.sync().state == "succeeded"
    assert len(beats) >= 10
    assert max(beats) < timedelta(seconds=63)


def test_a_run_that_was_taken_over_stops_writing(sqlite_bench: Any, document: Callable[..., str]) -> None:
    """Nothing of the batch in hand is stored."""

    def take_over(operation: str) -> None:
        if operation == "GetUpdateData":
            with sqlite_bench.database.write() as connection:
                runs.requeue_running(connection)

    sqlite_bench.upstream.before = take_over
    sqlite_bench.upstream.add(document(A, 200))
    need(sqlite_bench, (A, 200))
    with pytest.raises(runs.RunLost):
        sqlite_bench.sync()
    assert sqlite_bench.rows("update_revision") == []
    assert queue(sqlite_bench)[A, 200] == ("queued", None)
    assert [row["state"] for row in sqlite_bench.rows("sync_run")] == ["queued"]


def test_a_defect_fails_the_run_and_is_passed_on(sqlite_bench: Any) -> None:
    """The ledger says that it was us; the exception goes to the log."""

    def bug() -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sqlite_bench.sync(should_stop=bug)
    (row,) = sqlite_bench.rows("sync_run")
    assert (row["state"], row["error"]) == ("failed", "The bridge itself failed; its log has the details.")


def test_a_database_that_is_down_ends_the_attempt(sqlite_bench: Any) -> None:
    """There is nothing to write the failure to; the run is taken up again when it has been silent."""

    def down() -> bool:
        raise Unavailable("The database is down.")

    with pytest.raises(Unavailable):
        sqlite_bench.sync(should_stop=down)
    assert [row["state"] for row in sqlite_bench.rows("sync_run")] == ["running"]


def test_a_cancelled_run_ends_after_the_call_it_is_in(
    sqlite_bench: Any, list_categories: Callable[[Any], None]
) -> None:
    """What that call brought is not lost; no other call is made."""
    list_categories(sqlite_bench.upstream)
    run = sqlite_bench.claim()

    def cancel(operation: str) -> None:
        if operation == "GetConfigData":
            with sqlite_bench.database.write() as connection:
                runs.cancel_run(connection, run.id, sqlite_bench.clock())

    sqlite_bench.upstream.before = cancel
    ended = run_sync(sqlite_bench.database, sqlite_bench.client(), run, clock=sqlite_bench.clock)
    assert (ended.state, ended.error) == ("cancelled", "Somebody cancelled it.")
    assert operations(sqlite_bench.upstream)[-1] == "GetConfigData"
    assert remembered(sqlite_bench) == ("config 1", None)
    assert sqlite_bench.sync().state == "succeeded"


def test_a_long_call_does_not_delay_a_cancel_beyond_it(
    sqlite_bench: Any, document: Callable[..., str]
) -> None:
    """The flag is looked at before every attempt once ten seconds have gone."""
    run = sqlite_bench.claim()

    def cancel(operation: str) -> None:
        if operation == "GetRelatedRevisionsForUpdates":
            sqlite_bench.clock.now += timedelta(seconds=11)
            with sqlite_bench.database.write() as connection:
                runs.cancel_run(connection, run.id, sqlite_bench.clock())

    sqlite_bench.upstream.before = cancel
    need(sqlite_bench, (A, 0), (B, 0), (C, 0))
    ended = run_sync(sqlite_bench.database, sqlite_bench.client(), run, clock=sqlite_bench.clock)
    assert ended.state == "cancelled"
    assert len(sqlite_bench.upstream.asked("GetRelatedRevisionsForUpdates")) == 1


def test_the_log_of_a_run_names_its_phases(sqlite_bench: Any) -> None:
    """As sync consoles do."""
    run = sqlite_bench.sync()
    log = [(row["kind"], row["phase"]) for row in sqlite_bench.rows("sync_event", "seq")]
    phases = ["cookie", "config", "categories", "needed", "eulas"]
    assert log == [("started", None), *(("in_progress", phase) for phase in phases), ("done", "eulas")]
    assert {row["run_id"] for row in sqlite_bench.rows("sync_event")} == {run.id}


# --- one unknown update, or an ill upstream -------------------------------------------------------------


def test_an_ill_upstream_does_not_deny_an_update(sqlite_bench: Any, document: Callable[..., str]) -> None:
    """A fault without a reason is a failure with a short retry, unless the upstream gives other things."""
    need(sqlite_bench, (A, 200))
    run = sqlite_bench.sync()
    assert (run.state, run.not_offered, run.failed) == ("succeeded", 0, 1)
    state, error = queue(sqlite_bench)[A, 200]
    assert state == "failed"
    assert error is not None
    assert "gave nothing else" in error
    sqlite_bench.clock.now += timedelta(hours=1, seconds=1)
    prove(sqlite_bench, document)
    sqlite_bench.upstream.anchor = "anchor 2"
    assert sqlite_bench.sync("schedule").not_offered == 1


def test_what_was_given_before_is_the_control(sqlite_bench: Any, document: Callable[..., str]) -> None:
    """A later run with one unknown update only: the upstream is asked for what it has given once."""
    prove(sqlite_bench, document)
    sqlite_bench.sync()
    need(sqlite_bench, (A, 200))
    assert sqlite_bench.sync().not_offered == 1
    assert sqlite_bench.upstream.asked_ids()[-1] == (D, 1)
    need(sqlite_bench, (B, 200))
    del sqlite_bench.upstream.updates[D, 1]
    assert sqlite_bench.sync().failed == 2


def test_an_ill_upstream_is_not_asked_for_everything_one_by_one(sqlite_bench: Any) -> None:
    """Ten updates in vain are enough for one run."""
    need(sqlite_bench, *((f"{number:08x}-0000-4000-8000-000000000000", 0) for number in range(40)))
    assert sqlite_bench.sync().failed == 40
    assert len(sqlite_bench.upstream.asked("GetRelatedRevisionsForUpdates")) == 10


def test_a_lower_revision_is_found_by_trying(sqlite_bench: Any, document: Callable[..., str]) -> None:
    """Where the upstream knows no relatives: downwards within the hundred."""
    sqlite_bench.upstream.add(document(A, 203))
    sqlite_bench.upstream.add(document(B, 200))
    need(sqlite_bench, (A, 205), (B, 0))
    assert sqlite_bench.sync().fetched == 2
    assert queue(sqlite_bench)[A, 205] == ("synced", "Revision 205 is not offered; revision 203 stands in.")
    assert queue(sqlite_bench)[B, 0] == ("synced", None)


def test_a_known_definition_update_is_not_asked_for_again(
    sqlite_bench: Any, document: Callable[..., str]
) -> None:
    """Microsoft asks device managers to leave them out."""
    definitions = "e0789628-ce08-4437-be74-2495b842f43b"
    sqlite_bench.upstream.add(
        document(definitions, 1, update_type="Category", category_type="UpdateClassification"), listed=True
    )
    sqlite_bench.upstream.add(document(A, 200, categories=(definitions,)))
    need(sqlite_bench, (A, 200))
    sqlite_bench.sync()
    sqlite_bench.upstream.add(document(A, 201, categories=(definitions,)))
    need(sqlite_bench, (A, 201))
    sqlite_bench.upstream.calls.clear()
    assert sqlite_bench.sync().fetched == 1
    assert sqlite_bench.upstream.asked_ids() == []
    assert queue(sqlite_bench)[A, 201] == ("synced", "Revision 201 is not offered; revision 200 stands in.")


def test_with_several_upstreams_the_next_is_asked(sqlite_bench: Any, document: Callable[..., str]) -> None:
    """What one lacks stays queued for the others."""
    prove(sqlite_bench, document)
    need(sqlite_bench, (A, 200))
    sqlite_bench.sync(upstreams=["http://another.example"])
    assert queue(sqlite_bench)[A, 200] == ("queued", None)
    (answer,) = sqlite_bench.rows("needed_answer")
    assert (answer["upstream_url"], answer["state"]) == (sqlite_bench.upstream.url, "not_offered")


# --- replicas -------------------------------------------------------------------------------------------

ALL_COMPUTERS = "a0a08746-4dbe-4a37-9adf-9e7652c0b421"
GONE = "b73ca6ed-5727-47f3-84de-015e03f6a88a"


def deployment(guid: str, group: str, action: int = 0) -> str:
    """One ServerSyncDeployment of A."""
    return (
        f"<ServerSyncDeployment><UpdateId>{A}</UpdateId><RevisionNumber>200</RevisionNumber><Action>{action}</Action>"
        "<Deadline>9999-12-31T23:59:59.9999999</Deadline><IsAssigned>true</IsAssigned>"
        f"<GoLiveTime>2026-11-10T00:00:00</GoLiveTime><DeploymentGuid>{guid}</DeploymentGuid>"
        f"<TargetGroupId>{group}</TargetGroupId><DownloadPriority>2</DownloadPriority></ServerSyncDeployment>"
    )


def result(anchor: str, groups: tuple[str, ...], deployments: str, dead: tuple[str, ...] = ()) -> str:
    """The members of GetDeployments' result."""
    listed = "".join(
        f"<ServerSyncTargetGroup><TargetGroupID>{each}</TargetGroupID>"
        "<ParentGroupId>00000000-0000-0000-0000-000000000000</ParentGroupId><Name>All</Name>"
        "<IsBuiltin>true</IsBuiltin></ServerSyncTargetGroup>"
        for each in groups
    )
    gone = "".join(f"<guid>{each}</guid>" for each in dead)
    return (
        f"<Anchor>{anchor}</Anchor><Groups>{listed}</Groups><Deployments>{deployments}</Deployments>"
        f"<DeadDeployments>{gone}</DeadDeployments><HiddenUpdates><guid>{B}</guid></HiddenUpdates><AcceptedEulas />"
    )


def test_a_replica_follows_its_upstreams_administrators(
    bench: Any, list_categories: Callable[[Any], None]
) -> None:
    """Groups come whole, deployments as changes; with a group its deployments go."""
    list_categories(bench.upstream)
    with bench.database.write() as connection:
        ensure_upstream(connection, bench.upstream.url)
        change_upstream(connection, bench.upstream.url, bench.upstream.url, UpstreamChange(replica=True))
    bench.upstream.deployments = result(
        "d 1", (ALL_COMPUTERS, GONE), deployment(C, ALL_COMPUTERS) + deployment(D, GONE)
    )
    assert bench.sync().state == "succeeded"
    bench.upstream.deployments = result("d 2", (ALL_COMPUTERS,), deployment(E, ALL_COMPUTERS, 3), (C,))
    assert bench.sync().state == "succeeded"
    first, second = bench.upstream.asked("GetDeployments")
    assert "<syncAnchor>anchor 1</syncAnchor>" in first
    assert "deploymentAnchor" not in first
    assert "<deploymentAnchor>d 1</deploymentAnchor>" in second
    with bench.database.read() as connection:
        replica = read_replica(connection, bench.upstream.url)
    assert replica is not None
    assert [group["name"] for group in replica.groups] == ["All"]
    assert {key: value["action"] for key, value in replica.deployments.items()} == {E: 3}
    assert (replica.hidden_updates, replica.accepted_eulas) == ([B], [])


def test_deployments_wait_for_a_list(sqlite_bench: Any) -> None:
    """They speak of what it names, and its anchor has to be sent."""
    with sqlite_bench.database.write() as connection:
        ensure_upstream(connection, sqlite_bench.upstream.url)
        change = UpstreamChange(replica=True)
        change_upstream(connection, sqlite_bench.upstream.url, sqlite_bench.upstream.url, change)
    sqlite_bench.upstream.listed = [(A, 1)]
    assert sqlite_bench.sync().state == "succeeded"
    assert sqlite_bench.upstream.asked("GetDeployments") == []


def test_the_upstream_is_asked_to_fetch_a_licence_it_lacks(
    sqlite_bench: Any, document: Callable[..., str]
) -> None:
    """DownloadFiles for content of its own that is not there; the next run finds it."""
    upstream = sqlite_bench.upstream
    upstream.add(document(A, 200, eula=(EULA, {"en": LICENCE})))
    need(sqlite_bench, (A, 200))
    sqlite_bench.sync()
    (text,) = sqlite_bench.rows("eula_text")
    assert text["error"].endswith("answered HTTP 404; the upstream was asked to fetch the file")
    (body,) = upstream.asked("DownloadFiles")
    assert f"<base64Binary>{text['file_sha1']}</base64Binary>" in body
    upstream.files[text["url"].removeprefix(upstream.url)] = LICENCE
    assert sqlite_bench.sync().eula_texts == 1
    upstream.files.clear()
    upstream.faults = [("DownloadFiles", "FileDigestsMissing")]
    upstream.add(document(B, 200, eula=(C, {"en": b"other"})))
    need(sqlite_bench, (B, 200))
    sqlite_bench.sync()
    errors = [row["error"] for row in sqlite_bench.rows("eula_text") if row["error"]]
    assert len(errors) == 1
    assert errors[0].endswith("answered HTTP 404")
