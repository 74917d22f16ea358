"""A run under way: its counts, the heartbeat that proves it is alive, and the fetching ahead of the storing.

Calls may be made from two threads, one at a time: the run's own, and the one that fetches the next batch while
the run stores the last. Everything they share is behind one lock.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from mdm.catalog.ahead import ahead
from mdm.catalog.events import log_event
from mdm.catalog.metadata import MetadataError
from mdm.catalog.runs import beat
from mdm.catalog.store import Delivery, store_revisions, stored_revisions
from mdm.storage.statements import table_of
from mdm.storage.tables import UpdateRevision
from mdm.upstream.blob import BlobReader
from mdm.upstream.errors import AnswerTimeout, BlobError, InvalidAnswer, SoapFault
from mdm.upstream.messages import UpdateIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.catalog.metadata import EulaFile
    from mdm.catalog.runs import RunView
    from mdm.storage.engine import Database
    from mdm.upstream.client import UpstreamClient

__all__ = ["BATCH_SIZE", "HEARTBEAT_SECONDS", "Batch", "RunSession", "SyncCancelled", "SyncInterrupted"]

BATCH_SIZE: Final = 100
"""Revisions asked for at a time, unless the upstream's own limit is lower."""
HEARTBEAT_SECONDS: Final = 10.0
"""Also how long a cancelled run may take to notice, besides the call it is in."""
_VISIBLE: Final = frozenset({"Software", "Driver"})

_revision = table_of(UpdateRevision)


class SyncInterrupted(Exception):  # noqa: N818 - named for what happened to the run
    """The worker was asked to stop."""


class SyncCancelled(Exception):  # noqa: N818 - as above
    """Somebody cancelled the run."""


class Batch:
    """What came of one batch, read: what to store, and why the rest cannot be."""

    def __init__(
        self,
        deliveries: Sequence[Delivery],
        urls: Mapping[str, str | None],
        not_offered: Sequence[UpdateIdentity],
        refused: Sequence[UpdateIdentity],
        failed: Mapping[UpdateIdentity, str],
    ) -> None:
        """`refused` met a fault that says nothing; `failed` gives each reason in a sentence."""
        self.deliveries = deliveries
        self.urls = urls
        self.not_offered = not_offered
        self.refused = refused
        self.failed = failed

    @property
    def stored(self) -> list[UpdateIdentity]:
        """The revisions that can be stored."""
        return [each.revision.identity for each in self.deliveries]


class RunSession:
    """What the phases of one run share."""

    def __init__(
        self,
        database: Database,
        client: UpstreamClient,
        run: RunView,
        clock: Callable[[], datetime],
        should_stop: Callable[[], bool],
    ) -> None:
        """Take over a claimed run."""
        self.database = database
        self.client = client
        self.run = run
        self.clock = clock
        self.batch_size = BATCH_SIZE
        self.answered = False
        """Whether this run has got any metadata from its upstream."""
        self._should_stop = should_stop
        self._cancelled = threading.Event()
        self._lock = threading.RLock()
        self._last_beat = run.heartbeat_at or clock()
        self._phase: dict[str, Any] = {"phase": None}
        # a run that goes on after a release keeps what it counted before
        self.counts = {
            name: getattr(run, name)
            for name in (
                "categories",
                "needed",
                "fetched",
                "not_offered",
                "failed",
                "eula_texts",
                "new",
                "revised",
                "expired",
            )
        }

    @property
    def upstream_url(self) -> str:
        """The upstream of this run."""
        return self.run.upstream_url

    @property
    def by_hand(self) -> bool:
        """Whether somebody waits for it: then nothing is left for a later attempt."""
        return self.run.trigger != "schedule"

    # --- life -------------------------------------------------------------------------------------------

    def before_attempt(self) -> None:
        """Stop if asked to; else say that the run is alive, if it has not said so lately."""
        if self._should_stop():
            raise SyncInterrupted
        if (self.clock() - self._last_beat).total_seconds() >= HEARTBEAT_SECONDS:
            with self.write():
                pass
        if self._cancelled.is_set():
            raise SyncCancelled

    def enter(self, phase: str, total: int = 0) -> None:
        """Begin a phase that has this many revisions or texts to bring."""
        now = self.clock()
        self._phase = {"phase": phase, "phase_started_at": now, "phase_total": total, "phase_done": 0}
        with self.write() as connection:
            message = f"Synchronization in progress. Current phase: {phase}."
            log_event(connection, self.run.id, now, "in_progress", message, phase=phase)
        if self._cancelled.is_set():
            raise SyncCancelled

    def expect(self, total: int) -> None:
        """Say how much this phase has to bring, once that is known."""
        self._phase |= {"phase_started_at": self.clock(), "phase_total": total, "phase_done": 0}

    def advance(self, count: int) -> None:
        """Count what this phase has dealt with."""
        self._phase["phase_done"] += count

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that carries the run's progress and fails if the run is no longer ours."""
        with self._lock:
            with self.database.write() as connection:
                yield connection
                now = self.clock()
                run = beat(connection, self.run.id, self._last_beat, now, **self._progress())
            self._last_beat = run.heartbeat_at or now
            if run.cancel_requested_at is not None:
                self._cancelled.set()

    def end(self, how: Callable[[Connection, str, datetime, datetime], RunView]) -> RunView:
        """Write the last progress and the run's end in one transaction."""
        with self._lock, self.database.write() as connection:
            now = self.clock()
            run = beat(connection, self.run.id, self._last_beat, now, **self._progress())
            return how(connection, run.id, run.heartbeat_at or now, now)

    def _progress(self) -> dict[str, Any]:
        received = self.run.bytes_received + self.client.bytes_received
        return {**self._phase, "bytes_received": received, **self.counts}

    # --- fetching and storing ---------------------------------------------------------------------------

    def fetch(self, identities: Sequence[UpdateIdentity], *, breaker: int | None = None) -> Generator[Batch]:
        """Yield metadata batch by batch; with more than one, the next is fetched while the last is stored.

        To be closed: only then no call is under way any more. `breaker` is that of `fetch_in_batches`.
        """
        results = self.client.get_update_data_resilient(identities, self.batch_size, breaker=breaker)
        batches = map(_read, results)
        for batch in ahead(batches) if len(identities) > self.batch_size else batches:
            self.answered = self.answered or bool(batch.deliveries)
            yield batch

    def store(self, connection: Connection, batch: Batch) -> None:
        """Store a batch and count what it brought."""
        self._count(connection, batch.deliveries)

        def url_of(file: EulaFile) -> str | None:
            return batch.urls.get(file.sha1) or self.client.content_url(file.sha1, file.file_name)

        store_revisions(
            connection, batch.deliveries, url_of=url_of, upstream_url=self.upstream_url, now=self.clock()
        )

    def _count(self, connection: Connection, deliveries: Sequence[Delivery]) -> None:
        stored = stored_revisions(connection, {each.revision.identity.update_id for each in deliveries})
        for delivery in deliveries:
            revision = delivery.revision
            held = stored.get(revision.identity.update_id)
            if revision.update_type == "Category":
                self.counts["categories"] += 1
            if revision.update_type not in _VISIBLE:
                continue
            if held is None:
                self.counts["new"] += 1
            elif revision.identity.revision_number > max(held):
                self.counts["revised"] += 1
            else:
                continue
            self.counts["expired"] += revision.publication_state == "Expired"

    def is_answering(self) -> bool:
        """Whether a fault that says nothing is about the revision asked for, and not about the whole upstream.

        It is if the upstream has given any metadata in this run, or gives what it has given before.
        """
        if not self.answered:
            control = self._control()
            if control is not None:
                try:
                    self.answered = bool(self.client.get_update_data([control]).updates)
                except (SoapFault, InvalidAnswer, AnswerTimeout):
                    return False
        return self.answered

    def _control(self) -> UpdateIdentity | None:
        """A revision that this upstream has given, categories first: they are never withdrawn."""
        with self.database.read() as connection:
            row = connection.execute(
                select(_revision.c.update_id, _revision.c.revision_number)
                .where(_revision.c.upstream_url == self.upstream_url, _revision.c.is_latest)
                .order_by((_revision.c.update_type == "Category").desc(), _revision.c.fetched_at.desc())
                .limit(1)
            ).first()
        return UpdateIdentity(*row) if row is not None else None


def _read(result: Any) -> Batch:
    """Decode and parse what a batch brought; a document that cannot be read costs only itself."""
    deliveries: list[Delivery] = []
    failed: dict[UpdateIdentity, str] = {each.identity: each.reason for each in result.failed}
    with BlobReader() as blobs:
        for record in result.found:
            try:
                delivery = Delivery.read(blobs.document_of(record))
            except (BlobError, MetadataError) as problem:
                failed[record.identity] = str(problem)
                continue
            if delivery.revision.identity == record.identity:
                deliveries.append(delivery)
            else:
                failed[record.identity] = f"the document is that of {delivery.revision.identity}"
    urls = {each.file_digest: each.mu_url for each in result.file_urls}
    return Batch(deliveries, urls, result.not_offered, result.refused, failed)
