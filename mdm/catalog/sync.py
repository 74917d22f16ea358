"""One sync run: what an upstream knows of what is selected and of what devices reported, into the store.

The phases are `cookie`, `config`, `categories`, `updates`, `closure`, `needed`, `deployments` and `eulas`. In
needed mode, which Microsoft describes for device managers, `updates` and `closure` are left out: the metadata of
reported revisions is fetched and no more. Nothing is asked for that is stored already, each batch is stored in
one transaction with the note that it is, and no transaction is open during a call: a run that was killed goes on
where it stopped.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select, update

from mdm.catalog.anchors import forget_anchors, held_anchor, keep_anchor
from mdm.catalog.eula_texts import (
    MAX_TEXT_BYTES,
    MissingText,
    decode_text,
    missing_texts,
    note_error,
    store_text,
)
from mdm.catalog.filters import SyncFilter
from mdm.catalog.listed import close_over, sync_listed
from mdm.catalog.reported import sync_needed
from mdm.catalog.runs import RunLost, RunView, end_cancelled, finish_run, release_run
from mdm.catalog.session import BATCH_SIZE, RunSession, SyncCancelled, SyncInterrupted
from mdm.errors import Unavailable
from mdm.storage.statements import table_of, upsert
from mdm.storage.tables import Upstream, UpstreamReplica
from mdm.upstream.errors import InvalidAnswer, SoapFault, TransportError, UpstreamError
from mdm.upstream.messages import RevisionFilter
from mdm.upstream.transport import origin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from mdm.storage.engine import Database
    from mdm.upstream.client import UpstreamClient
    from mdm.upstream.messages import DeploymentResult

__all__ = ["SyncInterrupted", "run_sync"]

_ANCHOR_FAULTS: Final = frozenset({"ServerChanged", "InvalidParameters"})
"""The upstream's database was replaced (MS-WSUSSS 2.2.2.4), or another product answers at its address now."""

_DEFECT: Final = "The bridge itself failed; its log has the details."
_NOT_THERE: Final = "HTTP 404"

_upstream = table_of(Upstream)
_replica = table_of(UpstreamReplica)


def run_sync(
    database: Database,
    client: UpstreamClient,
    run: RunView,
    *,
    clock: Callable[[], datetime],
    should_stop: Callable[[], bool] = lambda: False,
    upstreams: Collection[str] = (),
) -> RunView:
    """Do a claimed run and return how it ended: succeeded, failed with a sentence, cancelled, or queued again.

    It is queued again when `should_stop` becomes true, which is asked before each HTTP attempt. `upstreams` are
    the URLs of all that are in use: what this one lacks is left to them. Raises RunLost if another worker took
    the run over, and Unavailable if the database is down; any other exception is a defect, which fails the run
    and is passed on.
    """
    session = RunSession(database, client, run, clock, should_stop)
    client.watch(session.before_attempt)
    try:
        _Sync(session, {run.upstream_url, *upstreams}).work()
    except SyncInterrupted:
        return session.end(release_run)
    except SyncCancelled:
        return session.end(end_cancelled)
    except UpstreamError as problem:
        return session.end(partial(finish_run, error=str(problem)))
    except (RunLost, Unavailable):
        raise  # there is nobody to write for, or nothing to write to
    except Exception:
        session.end(partial(finish_run, error=_DEFECT))
        raise
    return session.end(finish_run)


class _Sync:
    """The phases of one run, in their order."""

    def __init__(self, session: RunSession, upstreams: Collection[str]) -> None:
        self._session = session
        self._upstreams = upstreams
        self._client = session.client
        with session.database.read() as connection:
            row = connection.execute(select(_upstream).where(_upstream.c.url == session.upstream_url)).one()
        self._mode = row.mode
        self._replica = row.replica
        self._filter = SyncFilter(
            tuple(row.products or ()), tuple(row.classifications or ()), tuple(row.languages or ())
        )

    def work(self) -> None:
        """Go through the phases, once more without anchors if the upstream no longer knows them."""
        try:
            self._phases()
        except SoapFault as fault:
            if fault.error_code not in _ANCHOR_FAULTS:
                raise
            with self._session.write() as connection:
                held = forget_anchors(connection, self._session.upstream_url)
            if not held and fault.error_code != "ServerChanged":
                raise
            self._phases()

    def _phases(self) -> None:
        session = self._session
        session.enter("cookie")
        self._client.authenticate()
        session.enter("config")
        self._read_config()
        session.enter("categories")
        sync_listed(session, "categories", lambda held: RevisionFilter(get_config=True, anchor=held.anchor))
        if self._mode == "filtered":
            session.enter("updates")
            sync_listed(
                session,
                "updates",
                lambda held: self._filter.request(held.anchor, held.covers),
                filter_key=self._filter.key,
                covers=self._filter.document,
            )
            session.enter("closure")
            close_over(session)
        session.enter("needed")
        sync_needed(session, self._upstreams)
        if self._replica:
            session.enter("deployments")
            self._read_deployments()
        self._fetch_eula_texts()

    # --- config -----------------------------------------------------------------------------------------

    def _read_config(self) -> None:
        session = self._session
        with session.database.read() as connection:
            held = held_anchor(connection, session.upstream_url, "config")
        config = self._client.get_config_data(held.anchor)
        if config.max_updates_per_request > 0:
            session.batch_size = min(config.max_updates_per_request, BATCH_SIZE)
        with session.write() as connection:
            if config.new_config_anchor is not None:
                keep_anchor(
                    connection, session.upstream_url, "config", config.new_config_anchor, session.clock()
                )
            connection.execute(
                update(_upstream)
                .where(_upstream.c.url == session.upstream_url)
                .values(max_updates_per_request=config.max_updates_per_request)
            )

    # --- deployments ------------------------------------------------------------------------------------

    def _read_deployments(self) -> None:
        """Bring what the upstream's administrators decided up to date (MS-WSUSSS 3.1.4.10)."""
        session = self._session
        with session.database.read() as connection:
            listed = held_anchor(connection, session.upstream_url, "updates", self._filter.key)
            if listed.anchor is None:
                listed = held_anchor(connection, session.upstream_url, "categories")
            held = held_anchor(connection, session.upstream_url, "deployments")
            document = connection.scalar(
                select(_replica.c.document).where(_replica.c.upstream_url == session.upstream_url)
            )
        if listed.anchor is None:
            return  # a list is still incomplete, and deployments speak of what it names
        result = self._client.get_deployments(listed.anchor, held.anchor)
        now = session.clock()
        with session.write() as connection:
            connection.execute(
                upsert(UpstreamReplica, connection, update=("document", "read_at")),
                {
                    "upstream_url": session.upstream_url,
                    "document": _merged(document if held.anchor is not None else None, result),
                    "read_at": now,
                },
            )
            if result.anchor is not None:
                keep_anchor(connection, session.upstream_url, "deployments", result.anchor, now)

    # --- eulas ------------------------------------------------------------------------------------------

    def _fetch_eula_texts(self) -> None:
        with self._session.database.read() as connection:
            missing = missing_texts(connection)
        self._session.enter("eulas", len(missing))
        unreachable: dict[tuple[str, str, int | None], str] = {}
        for text in missing:
            self._session.advance(1)
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
                sentence = self._ask_to_fetch(text, str(problem))
            with self._session.write() as connection:
                note_error(connection, text, sentence)

    def _fetch_eula_text(self, missing: MissingText) -> None:
        """Fetch, check and store one text; raises ValueError for a file that is no text."""
        data = self._client.download(
            missing.url, sha1=missing.sha1, sha256=missing.sha256, max_bytes=MAX_TEXT_BYTES
        )
        text = decode_text(data)
        with self._session.write() as connection:
            store_text(connection, missing, data, text, self._session.clock())
            self._session.counts["eula_texts"] += 1

    def _ask_to_fetch(self, missing: MissingText, sentence: str) -> str:
        """Have the upstream fetch a file that it should serve itself and does not hold yet."""
        if _NOT_THERE not in sentence or origin_of(missing.url) != origin_of(self._session.upstream_url):
            return sentence
        try:
            self._client.download_files([missing.sha1])
        except (SoapFault, InvalidAnswer, TransportError):
            return sentence
        return f"{sentence}; the upstream was asked to fetch the file"


def _merged(document: dict[str, Any] | None, result: DeploymentResult) -> dict[str, Any]:
    """What was known, with the changes: deployments come as changes, everything else comes whole."""
    deployments: dict[str, Any] = dict((document or {}).get("deployments", {}))
    for dead in result.dead_deployments:
        deployments.pop(dead, None)
    for each in result.deployments:
        values = asdict(each)
        deployments[values.pop("deployment_id")] = {**values.pop("identity"), **values}
    groups = {each.group_id for each in result.groups}
    return {
        "groups": [asdict(each) for each in result.groups],
        # with a group its deployments go as well
        "deployments": {key: value for key, value in deployments.items() if value["group_id"] in groups},
        "hidden_updates": list(result.hidden_updates),
        "accepted_eulas": list(result.accepted_eulas),
    }
