"""One sync run: what an upstream knows of what devices reported, and its category list, into the store.

The phases are `cookie`, `config`, `categories`, `updates` and `eulas`. Nothing is asked for that is stored
already, each batch is stored before the next is asked for, and no transaction is open during a call: a run
that was killed goes on where it stopped. The category list's anchor is kept only when all of that list is
stored.

This is the fault-in mode that Microsoft describes for MDM servers: the metadata of reported revisions only,
without the closure over bundles and prerequisites that a downstream WSUS would need.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import or_, select, update

from mdm.catalog.eula_texts import (
    MAX_TEXT_BYTES,
    MissingText,
    decode_text,
    missing_texts,
    note_error,
    store_text,
)
from mdm.catalog.metadata import EulaFile, MetadataError
from mdm.catalog.runs import RunLost, RunView, beat, finish_run, release_run
from mdm.catalog.store import Delivery, mark_needed, store_revisions, stored_revisions
from mdm.errors import Unavailable
from mdm.storage.statements import table_of
from mdm.storage.tables import NeededRevision, Upstream
from mdm.upstream.blob import document_of
from mdm.upstream.errors import BlobError, InvalidAnswer, SoapFault, TransportError, UpstreamError
from mdm.upstream.messages import RevisionFilter, UpdateIdentity
from mdm.upstream.transport import origin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.storage.engine import Database
    from mdm.upstream.batches import BatchResult
    from mdm.upstream.client import UpstreamClient

__all__ = ["SyncInterrupted", "run_sync"]

BATCH_SIZE: Final = 100
"""Revisions asked for at a time, unless the upstream's own limit is lower."""
HEARTBEAT_SECONDS: Final = 30.0
_BREAKER: Final = 10
"""A batch of listed revisions this large of which not one can be had says that the upstream is out of order."""

_ANCHOR_FAULTS: Final = frozenset({"ServerChanged", "InvalidParameters"})
"""The upstream's database was replaced (MS-WSUSSS 2.2.2.4), or another product answers at its address now."""
_NO_RELATIVES: Final = frozenset({None, "InternalServerError", "InvalidParameters"})
"""Faults of an upstream that does not answer GetRelatedRevisionsForUpdates, or not for this update."""

_DEFECT: Final = "The bridge itself failed; its log has the details."
_NOT_OFFERED: Final = "The upstream does not offer this update."

_needed = table_of(NeededRevision)
_upstream = table_of(Upstream)


class SyncInterrupted(Exception):  # noqa: N818 - named for what happened to the run
    """The worker was asked to stop."""


def run_sync(
    database: Database,
    client: UpstreamClient,
    run: RunView,
    *,
    clock: Callable[[], datetime],
    should_stop: Callable[[], bool] = lambda: False,
) -> RunView:
    """Do a claimed run and return how it ended: succeeded, failed with a sentence, or queued again.

    It is queued again when `should_stop` becomes true, which is asked before each HTTP attempt. Raises
    RunLost if another worker took the run over, and Unavailable if the database is down; any other exception
    is a defect, which fails the run and is passed on.
    """
    sync = _Sync(database, client, run, clock, should_stop)
    client.watch(sync.before_attempt)
    try:
        sync.work()
    except SyncInterrupted:
        return sync.end(release_run)
    except UpstreamError as problem:
        return sync.end(partial(finish_run, error=str(problem)))
    except (RunLost, Unavailable):
        raise  # there is nobody to write for, or nothing to write to
    except Exception:
        sync.end(partial(finish_run, error=_DEFECT))
        raise
    return sync.end(finish_run)


class _Sync:
    """A run under way: its phases, its counts, and the heartbeat that proves it is alive."""

    def __init__(
        self,
        database: Database,
        client: UpstreamClient,
        run: RunView,
        clock: Callable[[], datetime],
        should_stop: Callable[[], bool],
    ) -> None:
        self._database = database
        self._client = client
        self._run = run
        self._clock = clock
        self._should_stop = should_stop
        self._last_beat = run.heartbeat_at or clock()
        self._phase: str | None = None
        self._batch_size = BATCH_SIZE
        # a run that goes on after a release keeps what it counted before
        self._counts = {
            "categories": run.categories,
            "needed": run.needed,
            "fetched": run.fetched,
            "not_offered": run.not_offered,
            "failed": run.failed,
            "eula_texts": run.eula_texts,
        }

    # --- the run ----------------------------------------------------------------------------------------

    def work(self) -> None:
        """Go through the phases, once more without anchors if the upstream no longer knows them."""
        try:
            self._phases()
        except SoapFault as fault:
            if fault.error_code not in _ANCHOR_FAULTS:
                raise
            held = self._forget_anchors()
            if not held and fault.error_code != "ServerChanged":
                raise
            self._phases()

    def _phases(self) -> None:
        self._enter("cookie")
        self._client.authenticate()
        self._enter("config")
        self._read_config()
        self._enter("categories")
        self._sync_categories()
        self._enter("updates")
        self._sync_needed()
        self._enter("eulas")
        self._fetch_eula_texts()

    def before_attempt(self) -> None:
        """Stop if asked to; else say that the run is alive, if it has not said so lately."""
        if self._should_stop():
            raise SyncInterrupted
        if (self._clock() - self._last_beat).total_seconds() >= HEARTBEAT_SECONDS:
            with self._write():
                pass

    def end(self, how: Callable[[Connection, str, datetime, datetime], RunView]) -> RunView:
        """Write the last progress and the run's end in one transaction."""
        with self._database.write() as connection:
            now = self._clock()
            run = beat(connection, self._run.id, self._last_beat, now, **self._progress())
            return how(connection, run.id, run.heartbeat_at or now, now)

    def _enter(self, phase: str) -> None:
        self._phase = phase
        with self._write():
            pass

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        """A transaction that carries the run's progress and fails if the run is no longer ours."""
        with self._database.write() as connection:
            yield connection
            now = self._clock()
            run = beat(connection, self._run.id, self._last_beat, now, **self._progress())
        self._last_beat = run.heartbeat_at or now

    def _progress(self) -> dict[str, Any]:
        received = self._run.bytes_received + self._client.bytes_received
        return {"phase": self._phase, "bytes_received": received, **self._counts}

    # --- config -----------------------------------------------------------------------------------------

    def _anchor(self, column: str) -> str | None:
        with self._database.read() as connection:
            anchor: str | None = connection.scalar(
                select(_upstream.c[column]).where(_upstream.c.url == self._run.upstream_url)
            )
        return anchor

    def _keep(self, connection: Connection, **values: object) -> None:
        connection.execute(update(_upstream).where(_upstream.c.url == self._run.upstream_url).values(values))

    def _forget_anchors(self) -> bool:
        """Forget the anchors; return False if there were none to forget."""
        held = [self._anchor("config_anchor"), self._anchor("category_anchor")]
        with self._write() as connection:
            self._keep(connection, config_anchor=None, category_anchor=None)
        return any(anchor is not None for anchor in held)

    def _read_config(self) -> None:
        config = self._client.get_config_data(self._anchor("config_anchor"))
        if config.max_updates_per_request > 0:
            self._batch_size = min(config.max_updates_per_request, BATCH_SIZE)
        with self._write() as connection:
            self._keep(
                connection,
                config_anchor=config.new_config_anchor,
                max_updates_per_request=config.max_updates_per_request,
            )

    # --- categories -------------------------------------------------------------------------------------

    def _sync_categories(self) -> None:
        """Store the categories and detectoids that are new since the anchor, of each the highest revision."""
        anchor = self._anchor("category_anchor")
        listed = self._client.get_revision_id_list(RevisionFilter(get_config=True, anchor=anchor))
        highest = _highest(listed.revisions)
        with self._database.read() as connection:
            stored = stored_revisions(connection, set(highest))
        wanted = [
            UpdateIdentity(update_id, number)
            for update_id, number in highest.items()
            if number > max(stored.get(update_id, {-1}))
        ]
        complete = True
        for result in self._client.get_update_data_resilient(wanted, self._batch_size):
            deliveries, unreadable = _read(result)
            if not result.found and len(result.not_offered) + len(result.failed) >= _BREAKER:
                raise InvalidAnswer("the upstream lists categories and gives none of them")
            complete = complete and len(deliveries) == len(result.found) and not result.not_offered
            complete = complete and not result.failed
            categories = sum(each.revision.update_type == "Category" for each in deliveries)
            with self._write() as connection:
                self._store(connection, result, deliveries)
                self._counts["categories"] += categories
                self._counts["failed"] += len(unreadable) + len(result.failed)
        if complete and listed.anchor is not None:
            with self._write() as connection:
                self._keep(connection, category_anchor=listed.anchor)

    def _store(
        self, connection: Connection, result: BatchResult, deliveries: Iterable[Delivery]
    ) -> frozenset[UpdateIdentity]:
        urls = {each.file_digest: each.mu_url for each in result.file_urls}

        def url_of(file: EulaFile) -> str | None:
            return urls.get(file.sha1) or self._client.content_url(file.sha1, file.file_name)

        return store_revisions(
            connection,
            deliveries,
            url_of=url_of,
            upstream_url=self._run.upstream_url,
            now=self._clock(),
        )

    # --- updates ----------------------------------------------------------------------------------------

    def _sync_needed(self) -> None:
        """Ask for what devices reported and the store lacks."""
        due = self._due()
        self._counts["needed"] = self._counts["fetched"] + self._counts["not_offered"] + len(due)
        due = self._without_stored(due)
        exact = [identity for identity in due if identity.revision_number > 0]
        for result in self._client.get_update_data_resilient(exact, self._batch_size):
            deliveries, unreadable = _read(result)
            with self._write() as connection:
                self._store(connection, result, deliveries)
                self._settle(connection, [each.revision.identity for each in deliveries])
                failures = {**unreadable, **{each.identity: each.reason for each in result.failed}}
                for identity, reason in failures.items():
                    self._fail(connection, identity, reason)
            self._find_stand_ins(result.not_offered)
        self._find_stand_ins([identity for identity in due if identity.revision_number == 0])

    def _due(self) -> list[UpdateIdentity]:
        """The queue: what was never asked for and what may be asked for again.

        Somebody who starts a run by hand wants an answer now, so then everything missing is asked for.
        """
        statement = select(_needed.c.update_id, _needed.c.revision_number).where(_needed.c.state != "synced")
        if self._run.trigger == "schedule":
            statement = statement.where(
                or_(_needed.c.state == "queued", _needed.c.next_attempt_at <= self._clock())
            )
        with self._database.read() as connection:
            rows = connection.execute(statement.order_by(_needed.c.update_id, _needed.c.revision_number))
            return [UpdateIdentity(*row) for row in rows]

    def _without_stored(self, due: Sequence[UpdateIdentity]) -> list[UpdateIdentity]:
        """Settle what has been stored since it was asked for; return the rest."""
        with self._write() as connection:
            stored = stored_revisions(connection, {identity.update_id for identity in due})
            here = [each for each in due if each.revision_number in stored.get(each.update_id, set()) | {0}]
            here = [each for each in here if each.update_id in stored]
            self._settle(connection, here)
        known = set(here)
        return [identity for identity in due if identity not in known]

    def _settle(
        self, connection: Connection, identities: Sequence[UpdateIdentity], note: str | None = None
    ) -> None:
        mark_needed(connection, identities, "synced", self._clock(), note)
        self._counts["fetched"] += len(identities)

    def _fail(self, connection: Connection, identity: UpdateIdentity, reason: str) -> None:
        mark_needed(connection, [identity], "failed", self._clock(), reason)
        self._counts["failed"] += 1

    def _find_stand_ins(self, wanted: Sequence[UpdateIdentity]) -> None:
        """For revisions that are not offered, or not known by number, take the update's highest revision.

        Texts and licence hardly change between revisions, so another one serves the administrator.
        """
        if not wanted:
            return
        with self._database.read() as connection:
            stored = stored_revisions(connection, {identity.update_id for identity in wanted})
        stand_ins: dict[UpdateIdentity, UpdateIdentity] = {}
        asked: list[UpdateIdentity] = []
        for identity in wanted:
            if identity.update_id in stored:
                number = max(stored[identity.update_id])
                stand_ins[identity] = UpdateIdentity(identity.update_id, number)
                continue
            related = self._highest_offered(identity.update_id)
            if related is not None and related != identity:
                stand_ins[identity] = related
                asked.append(related)
        failures: dict[UpdateIdentity, str] = {}
        for result in self._client.get_update_data_resilient(asked, self._batch_size):
            deliveries, unreadable = _read(result)
            failures |= {**unreadable, **{each.identity: each.reason for each in result.failed}}
            with self._write() as connection:
                self._store(connection, result, deliveries)
            for delivery in deliveries:
                stored[delivery.revision.identity.update_id] = {delivery.revision.identity.revision_number}
        with self._write() as connection:
            for identity in wanted:
                stand_in = stand_ins.get(identity)
                if stand_in is not None and identity.update_id in stored:
                    self._settle(connection, [identity], _stand_in_note(identity, stand_in))
                elif stand_in in failures:
                    self._fail(connection, identity, failures[stand_in])
                else:
                    mark_needed(connection, [identity], "not_offered", self._clock(), _NOT_OFFERED)
                    self._counts["not_offered"] += 1

    def _highest_offered(self, update_id: str) -> UpdateIdentity | None:
        try:
            related = self._client.get_related_revisions(update_id)
        except InvalidAnswer:
            return None
        except SoapFault as fault:
            if fault.error_code not in _NO_RELATIVES:
                raise
            return None
        return max((each for each in related if each.update_id == update_id), default=None)

    # --- eulas ------------------------------------------------------------------------------------------

    def _fetch_eula_texts(self) -> None:
        with self._database.read() as connection:
            missing = missing_texts(connection)
        unreachable: dict[tuple[str, str, int | None], str] = {}
        for text in missing:
            try:
                host = origin_of(text.url)
                # a host that is down is down for the other thirty languages as well
                if host not in unreachable:
                    self._fetch_eula_text(text)
                    continue
                sentence = unreachable[host]
            except TransportError as problem:
                sentence = unreachable[host] = str(problem)
            except (InvalidAnswer, ValueError) as problem:
                sentence = str(problem)
            with self._write() as connection:
                note_error(connection, text, sentence)

    def _fetch_eula_text(self, missing: MissingText) -> None:
        """Fetch, check and store one text; raises ValueError for a file that is no text."""
        data = self._client.download(
            missing.url, sha1=missing.sha1, sha256=missing.sha256, max_bytes=MAX_TEXT_BYTES
        )
        text = decode_text(data)
        with self._write() as connection:
            store_text(connection, missing, data, text, self._clock())
            self._counts["eula_texts"] += 1


def _highest(revisions: Iterable[UpdateIdentity]) -> dict[str, int]:
    """The highest revision of each id: real servers list several, although the specification says one."""
    highest: dict[str, int] = {}
    for each in revisions:
        highest[each.update_id] = max(each.revision_number, highest.get(each.update_id, 0))
    return highest


def _read(result: BatchResult) -> tuple[list[Delivery], dict[UpdateIdentity, str]]:
    """Decode and parse what a batch brought; a document that cannot be read costs only itself."""
    deliveries: list[Delivery] = []
    unreadable: dict[UpdateIdentity, str] = {}
    for record in result.found:
        try:
            delivery = Delivery.of(document_of(record))
        except (BlobError, MetadataError) as problem:
            unreadable[record.identity] = str(problem)
            continue
        if delivery.revision.identity == record.identity:
            deliveries.append(delivery)
        else:
            unreadable[record.identity] = f"the document is that of {delivery.revision.identity}"
    return deliveries, unreadable


def _stand_in_note(wanted: UpdateIdentity, stand_in: UpdateIdentity) -> str | None:
    if wanted.revision_number == 0:
        return None
    return f"Revision {wanted.revision_number} is not offered; revision {stand_in.revision_number} stands in."
