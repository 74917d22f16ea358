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


def operations(upstream: Any) -> list[str]:
    """What was called, in order."""
    return [name for name, _ in upstream.calls]


def remembered(bench: Any) -> tuple[str | None, str | None]:
    """Config and category anchor."""
    (row,) = bench.rows("upstream")
    return row["config_anchor"], row["category_anchor"]


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
    assert (run.state, run.error) == ("failed", "the upstream lists categories and gives none of them")
    assert len(upstream.asked("GetUpdateData")) < 200


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
    sqlite_bench: Any, stand_in: str | None, state: str, reason: str
) -> None:
    """Named but not offered, or offered but unreadable."""
    sqlite_bench.upstream.related[A] = [(A, 203)]
    if stand_in is not None:
        sqlite_bench.upstream.updates[A, 203] = stand_in
    need(sqlite_bench, (A, 0))
    sqlite_bench.sync()
    held, error = queue(sqlite_bench)[A, 0]
    assert held == state
    assert error is not None
    assert reason in error


def test_an_unusable_answer_about_relatives_is_no_relative(sqlite_bench: Any) -> None:
    """Old servers do not know the call; the update is then simply not offered."""
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
