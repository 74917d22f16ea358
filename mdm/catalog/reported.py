"""The part of a run that works from the devices' reports: each revision they named and the store lacks.

This is the fault-in that Microsoft describes for device managers, without the closure over bundles and
prerequisites that a downstream WSUS would need. Definition updates that are known in some revision are not asked
for again: a new one comes every few hours.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

from mdm.catalog.needed import (
    Refusal,
    due_needed,
    known_definition_updates,
    note_refusals,
    settle_needed,
)
from mdm.catalog.relatives import highest_offered
from mdm.catalog.store import stored_revisions
from mdm.upstream.messages import UpdateIdentity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection

    from mdm.catalog.session import RunSession

__all__ = ["sync_needed"]

_NOT_OFFERED: Final = "The upstream does not offer this update."
_IN_VAIN: Final = 10
"""Updates asked about in vain, of an upstream that has given nothing, before the rest waits for the next run."""
_SILENT: Final = "The upstream refused this update without a reason, and gave nothing else either."


def sync_needed(session: RunSession, upstreams: Collection[str]) -> None:
    """Ask for what devices reported and the store lacks; `upstreams` are all that are in use.

    Somebody who starts a run by hand wants an answer now, so then everything missing is asked for.
    """
    _Needed(session, upstreams).work()


class _Needed:
    def __init__(self, session: RunSession, upstreams: Collection[str]) -> None:
        self._session = session
        self._upstreams = upstreams

    def work(self) -> None:
        session = self._session
        with session.database.read() as connection:
            due = due_needed(connection, session.upstream_url, session.clock(), everything=session.by_hand)
        session.counts["needed"] = session.counts["fetched"] + session.counts["not_offered"] + len(due)
        session.expect(len(due))
        due = self._without_stored(due)
        exact = [identity for identity in due if identity.revision_number > 0]
        missing: list[UpdateIdentity] = []
        refused = [identity for identity in due if identity.revision_number == 0]
        with closing(session.fetch(exact)) as batches:
            for batch in batches:
                with session.write() as connection:
                    session.store(connection, batch)
                    self._settle(connection, batch.stored)
                    failed = [Refusal(each, "failed", why) for each, why in batch.failed.items()]
                    self._refuse(connection, failed)
                missing += batch.not_offered
                refused += batch.refused
        self._find_stand_ins([*missing, *refused], named=missing)

    def _without_stored(self, due: Sequence[UpdateIdentity]) -> list[UpdateIdentity]:
        """Settle what has been stored since it was asked for, and definition updates; return the rest."""
        ids = {identity.update_id for identity in due}
        rest: list[UpdateIdentity] = []
        with self._session.write() as connection:
            stored = stored_revisions(connection, ids)
            definitions = known_definition_updates(connection, ids)
            for each in due:
                revisions = stored.get(each.update_id, set())
                if each.revision_number in revisions or (revisions and each.revision_number == 0):
                    self._settle(connection, [each])
                elif each.update_id in definitions:
                    self._settle(connection, [each], _stand_in_note(each, max(revisions)))
                else:
                    rest.append(each)
        return rest

    def _find_stand_ins(self, wanted: Sequence[UpdateIdentity], *, named: Collection[UpdateIdentity]) -> None:
        """For revisions that are not offered, or not known by number, take the update's highest revision.

        Texts and licence hardly change between revisions, so another one serves the administrator. `named` are
        those that the upstream itself has called missing.
        """
        if not wanted:
            return
        with self._session.database.read() as connection:
            stored = stored_revisions(connection, {identity.update_id for identity in wanted})
        stand_ins = self._stand_ins(wanted, stored)
        asked = [each for each in stand_ins.values() if each.update_id not in stored]
        failures = self._fetch_stand_ins(asked, stored)
        refusals: list[Refusal] = []
        unknown = [each for each in wanted if each.update_id not in stored]
        answering = not unknown or self._session.is_answering()
        with self._session.write() as connection:
            for identity in wanted:
                stand_in = stand_ins.get(identity)
                if stand_in is not None and identity.update_id in stored:
                    self._settle(connection, [identity], _stand_in_note(identity, stand_in.revision_number))
                elif stand_in in failures:
                    refusals.append(Refusal(identity, "failed", failures[stand_in]))
                elif answering or identity in named:
                    refusals.append(Refusal(identity, "not_offered", _NOT_OFFERED))
                else:
                    refusals.append(Refusal(identity, "failed", _SILENT))
            self._refuse(connection, refusals)

    def _stand_ins(
        self, wanted: Sequence[UpdateIdentity], stored: Mapping[str, set[int]]
    ) -> dict[UpdateIdentity, UpdateIdentity]:
        """The revision that stands in for each, stored or offered, where there is one."""
        found: dict[UpdateIdentity, UpdateIdentity] = {}
        in_vain = 0
        for identity in wanted:
            if identity.update_id in stored:
                found[identity] = UpdateIdentity(identity.update_id, max(stored[identity.update_id]))
            elif self._session.answered or in_vain < _IN_VAIN:
                offered = highest_offered(self._session, identity)
                if offered is not None:
                    found[identity] = offered
                else:
                    in_vain += 1
        return found

    def _fetch_stand_ins(
        self, asked: Sequence[UpdateIdentity], stored: dict[str, set[int]]
    ) -> dict[UpdateIdentity, str]:
        """Store them and note them in `stored`; return why some could not be."""
        failures: dict[UpdateIdentity, str] = {}
        with closing(self._session.fetch(asked)) as batches:
            for batch in batches:
                failures |= batch.failed
                with self._session.write() as connection:
                    self._session.store(connection, batch)
                for each in batch.stored:
                    stored[each.update_id] = {each.revision_number}
        return failures

    def _settle(
        self, connection: Connection, identities: Sequence[UpdateIdentity], note: str | None = None
    ) -> None:
        settle_needed(connection, identities, self._session.clock(), note)
        self._session.counts["fetched"] += len(identities)
        self._session.advance(len(identities))

    def _refuse(self, connection: Connection, refusals: Sequence[Refusal]) -> None:
        note_refusals(
            connection,
            refusals,
            upstream_url=self._session.upstream_url,
            asked=self._upstreams,
            now=self._session.clock(),
        )
        for each in refusals:
            self._session.counts[each.state] += 1
        self._session.advance(len(refusals))


def _stand_in_note(wanted: UpdateIdentity, stand_in: int) -> str | None:
    if wanted.revision_number == 0:
        return None
    return f"Revision {wanted.revision_number} is not offered; revision {stand_in} stands in."
