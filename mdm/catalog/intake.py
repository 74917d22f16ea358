"""Metadata that somebody brings on a disk: stored by the very functions of a sync, and told like a sync's run.

Each batch is one transaction and everything is idempotent, so that an import that was killed is simply started
again. The audit trail has its line before the first revision is stored; the run that consoles show is written at
the end.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, select

from mdm.audit import record
from mdm.catalog.eula_bytes import sha1_of
from mdm.catalog.eula_texts import MissingText, decode_text, store_text
from mdm.catalog.events import log_event
from mdm.catalog.ids import chunks
from mdm.catalog.needed import settle_needed
from mdm.catalog.store import store_revisions, stored_revisions
from mdm.catalog.supersedence import VISIBLE_TYPES
from mdm.storage.statements import table_of
from mdm.storage.tables import EulaText, NeededRevision, SyncRun
from mdm.upstream.messages import UpdateIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.audit import Origin
    from mdm.catalog.metadata import EulaFile
    from mdm.catalog.store import Delivery
    from mdm.storage.engine import Database

__all__ = ["BATCH_SIZE", "REASONS_SHOWN", "Intake", "Summary"]

BATCH_SIZE: Final = 200
"""Revisions stored in one transaction."""
REASONS_SHOWN: Final = 20
"""Of what was refused, how many are named with their reasons."""

_text = table_of(EulaText)
_needed = table_of(NeededRevision)


@dataclass(slots=True)
class Summary:
    """What an import has brought so far."""

    new: int = 0
    """Software and drivers of which nothing was stored before, parts of bundles included."""
    revised: int = 0
    """Further revisions of those that were."""
    expired: int = 0
    """Updates that have expired by what was brought."""
    categories: int = 0
    """Categories and detectoids."""
    here: int = 0
    """Revisions that were stored already."""
    eula_texts: int = 0
    refused: int = 0
    reasons: list[str] = field(default_factory=list)
    """Of the first ones refused: which, and why."""

    @property
    def sentence(self) -> str:
        """The summary for people."""
        return (
            f"{self.new} new and {self.revised} revised updates, {self.expired} expired, "
            f"{self.categories} categories and detectoids, {self.eula_texts} licence texts; "
            f"{self.here} revisions were here already, {self.refused} were refused."
        )


class Intake:
    """One import under way."""

    def __init__(
        self, database: Database, source: str, origin: Origin, clock: Callable[[], datetime]
    ) -> None:
        """`source` is what the run shows in the place of an upstream's URL."""
        self.summary = Summary()
        self._database = database
        self._source = source
        self._origin = origin
        self._clock = clock
        self._id = f"run_{secrets.token_hex(10)}"
        self._started_at = clock()

    def begin(self, detail: Mapping[str, Any]) -> None:
        """Write the line of the audit trail."""
        with self._database.write() as connection:
            record(
                connection,
                self._origin,
                now=self._clock(),
                action="catalog.import",
                object_type="sync",
                object_id=self._id,
                detail={"source": self._source, **detail},
            )

    def absent(self, identities: Iterable[UpdateIdentity]) -> set[UpdateIdentity]:
        """Return those that are not stored, and count the others."""
        wanted = set(identities)
        with self._database.read() as connection:
            stored = stored_revisions(connection, {each.update_id for each in wanted})
        absent = {each for each in wanted if each.revision_number not in stored.get(each.update_id, ())}
        self.summary.here += len(wanted) - len(absent)
        return absent

    def refuse(self, name: object, reason: str) -> None:
        """Count something that is not stored."""
        self.summary.refused += 1
        if len(self.summary.reasons) < REASONS_SHOWN:
            self.summary.reasons.append(f"{name}: {reason}")

    def store(
        self,
        deliveries: Sequence[Delivery],
        *,
        upstream_url: str,
        url_of: Callable[[EulaFile], str | None],
    ) -> None:
        """Store a batch, settle what devices had asked for of it, and count what it brought."""
        if not deliveries:
            return
        now = self._clock()
        with self._database.write() as connection:
            stored = store_revisions(
                connection, deliveries, url_of=url_of, upstream_url=upstream_url, now=now
            )
            settle_needed(connection, _asked_for(connection, stored.identities), now)
        visible = {
            delivery.revision.identity
            for delivery in deliveries
            if delivery.revision.update_type in VISIBLE_TYPES
        }
        summary = self.summary
        summary.new += len({each.update_id for each in stored.new & visible})
        summary.revised += len(stored.revised & visible)
        summary.expired += len(stored.expired & visible)
        summary.categories += len(stored.identities - visible)

    def store_text(self, sha1: str, data: bytes) -> None:
        """Store the file of a licence text where the metadata names it, if it has the digests written there."""
        try:
            text = decode_text(data)
        except ValueError as problem:
            self.refuse(f"licence text {sha1}", str(problem))
            return
        if sha1_of(data) != sha1:
            self.refuse(f"licence text {sha1}", "the file has another SHA-1")
            return
        sha256 = base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")
        now = self._clock()
        with self._database.write() as connection:
            for missing in _missing(connection, sha1):
                if missing.sha256 not in {None, sha256}:
                    self.refuse(f"licence text {sha1}", "the metadata names another SHA-256")
                    continue
                store_text(connection, missing, data, text, now)
                self.summary.eula_texts += 1

    def finish(self, error: str | None = None) -> Summary:
        """Write the run: done, or failed for the reason of one sentence; return what it brought."""
        now = self._clock()
        summary = self.summary
        message = f"Import done: {summary.sentence}" if error is None else f"Import failed: {error}"
        with self._database.write() as connection:
            connection.execute(
                insert(SyncRun).values(
                    id=self._id,
                    upstream_url=self._source,
                    trigger="command-line",
                    requested_by=self._origin.actor,
                    state="succeeded" if error is None else "failed",
                    requested_at=self._started_at,
                    started_at=self._started_at,
                    finished_at=now,
                    phase_total=0,
                    phase_done=0,
                    categories=summary.categories,
                    needed=0,
                    fetched=0,
                    not_offered=0,
                    failed=summary.refused,
                    eula_texts=summary.eula_texts,
                    new=summary.new,
                    revised=summary.revised,
                    expired=summary.expired,
                    bytes_received=0,
                    error=error,
                )
            )
            log_event(connection, self._id, now, "done" if error is None else "failed", message)
            for reason in summary.reasons:
                log_event(connection, self._id, now, "in_progress", f"Refused {reason}")
        return summary


def _asked_for(connection: Connection, stored: Iterable[UpdateIdentity]) -> list[UpdateIdentity]:
    """What devices reported of these revisions and that waits for its metadata; number 0 waits for any."""
    identities = set(stored)
    found: list[UpdateIdentity] = []
    for chunk in chunks({each.update_id for each in identities}):
        rows = connection.execute(
            select(_needed.c.update_id, _needed.c.revision_number).where(
                _needed.c.update_id.in_(chunk), _needed.c.state != "synced"
            )
        )
        waiting = [UpdateIdentity(*row) for row in rows]
        found += [each for each in waiting if each.revision_number == 0 or each in identities]
    return found


def _missing(connection: Connection, sha1: str) -> list[MissingText]:
    rows = connection.execute(
        select(_text.c.eula_id, _text.c.locale, _text.c.url, _text.c.file_sha256)
        .where(_text.c.file_sha1 == sha1, _text.c.text.is_(None))
        .distinct()
    )
    return [MissingText(row.eula_id, row.locale, row.url or "", sha1, row.file_sha256) for row in rows]
