"""What administrators read: one row per update, by its highest revision, with what hangs on it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert
from sqlmodel import SQLModel

from mdm.catalog.queries import (
    CategoryView,
    Reference,
    TextView,
    get_update,
    list_classifications,
    list_products,
    list_updates,
)
from mdm.catalog.store import Delivery, enqueue_needed, mark_needed, store_revisions
from mdm.catalog.supersedence import Chain
from mdm.upstream.messages import UpdateIdentity

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from mdm.storage.engine import Database

A, B, C, D, E, F = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcdef")
SECURITY = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
DRIVERS = "ebfc1fc5-71a4-4f7b-9aca-3b9a503104a0"
WINDOWS = "72e7624a-5b00-45d2-b92f-e561c0a6a160"
SERVER = "b256987d-4693-4c87-955d-dbb9341205eb"
FAMILY = "6964aab4-c5b5-43bd-a17d-ffb4346a8e1d"
EULA = "11111111-0000-4000-8000-000000000000"


def add(connection: Connection, table: str, **values: Any) -> None:
    """Insert a row."""
    connection.execute(insert(SQLModel.metadata.tables[table]), values)


def report(connection: Connection, update_id: str, state: str, now: datetime) -> None:
    """Let a device name an update."""
    device = SQLModel.metadata.tables["device"]
    pk = connection.execute(
        insert(device).returning(device.c.pk),
        {
            "id": update_id,
            "device_id": update_id,
            "name": "d",
            "created_at": now,
            "auth_scheme": "syncml:auth-md5",
            "auth_username": "u",
            "auth_verifier": b"",
            "auth_nonce": "",
        },
    ).scalar_one()
    add(connection, "device_update", device_pk=pk, update_id=update_id, lists=1, state=state, since=now)


@pytest.fixture
def catalogue(database: Database, document: Callable[..., str], now: datetime) -> Database:
    """A small catalogue.

    A is superseded by B, and by an expired D and a hidden E, which do not count; C has revisions 100 and 200.
    """

    def category(category_id: str, title: str, category_type: str | None) -> str:
        return document(
            category_id, 1, update_type="Category", title=title, category_type=category_type, deployable=False
        )

    critical = ' MsrcSeverity="Critical"'
    kb = "<u:KBArticleID>5041585</u:KBArticleID><u:KBArticleID>504</u:KBArticleID>"
    documents = [
        category(SECURITY, "Security Updates", "UpdateClassification"),
        category(DRIVERS, "Drivers", "UpdateClassification"),
        category(WINDOWS, "Windows 11", "Product"),
        category(SERVER, "Server 2025", "Product"),
        category(FAMILY, "Windows", "ProductFamily"),
        document(
            A,
            title="2026-10 Cumulative 100% (KB5041585)",
            properties=f'{critical} MaxDownloadSize="5"',
            children=f'<u:InstallationBehavior RebootBehavior="AlwaysRequiresReboot"/>{kb}<u:SupportUrl>https://s</u:SupportUrl>',
            categories=(SECURITY, WINDOWS, SERVER, FAMILY, F),
            eula=(EULA, {}),
        ),
        document(B, title="2026-11 Cumulative", categories=(SECURITY, WINDOWS), supersedes=(A, F)),
        document(C, 100, title="Old title", supersedes=(A, B)),
        document(C, 200, title="A driver", update_type="Driver", categories=(DRIVERS,)),
        document(D, title="Expired", expired=True, supersedes=(A,), categories=(SECURITY,)),
        document(E, title="HIDDEN: part", deployable=False, supersedes=(A,), categories=(SECURITY, WINDOWS)),
    ]
    with database.write() as connection:
        store(connection, documents, now)
    return database


def store(connection: Connection, documents: list[str], now: datetime) -> None:
    """Store documents."""
    deliveries = [Delivery.of(each) for each in documents]
    store_revisions(connection, deliveries, url_of=lambda _file: None, upstream_url="http://u", now=now)


def listed(database: Database, **filters: Any) -> list[str]:
    """The first letters of the updates listed; all have one date, so the list runs from the last letter."""
    with database.read() as connection:
        return [row.update.update_id[0] for row in list_updates(connection, **filters)]


def test_an_update_is_told_in_full(catalogue: Database) -> None:
    """Titles of classification and products, KBs, severity, licence, supersedence by what counts only."""
    with catalogue.read() as connection:
        view = get_update(connection, A)
    assert view is not None
    assert (view.source_state, view.source_error, view.revision_number) == ("synced", None, 200)
    assert view.title == "2026-10 Cumulative 100% (KB5041585)"
    assert (view.kb, view.kb_all) == ("5041585", ("5041585", "504"))
    assert view.classification == Reference(SECURITY, "Security Updates")
    assert view.products == (Reference(SERVER, "Server 2025"), Reference(WINDOWS, "Windows 11"))
    assert (view.severity, view.bulletin, view.update_type) == ("Critical", None, "Software")
    assert view.created == datetime(2026, 11, 10, 18, 0, 0, 123000, tzinfo=UTC)
    assert (view.publication_state, view.explicitly_deployable) == ("Published", True)
    assert (view.eula_id, view.eula_accepted) == (EULA, False)
    assert (view.supersedes, view.superseded_by) == ((), (B,))
    assert (view.reboot_behavior, view.can_uninstall) == ("AlwaysRequiresReboot", False)
    assert (view.max_download_size, view.support_url, view.more_info_url) == (5, "https://s", None)


def test_supersedence_follows_the_highest_revision(catalogue: Database) -> None:
    """C superseded A and B in revision 100, but no longer does."""
    with catalogue.read() as connection:
        newer, driver = get_update(connection, B), get_update(connection, C)
    assert newer is not None
    assert driver is not None
    assert (newer.supersedes, newer.superseded_by) == ((A, F), ())
    assert (driver.title, driver.revision_number, driver.supersedes) == ("A driver", 200, ())
    assert driver.eula_accepted is None


def test_an_accepted_licence_shows(catalogue: Database, now: datetime) -> None:
    """Acceptance is per EulaID."""
    with catalogue.write() as connection:
        add(
            connection,
            "eula_acceptance",
            id="1",
            eula_id=EULA,
            locale="en",
            text_sha256="x",
            accepted_by="client:it",
            accepted_at=now,
        )
        view = get_update(connection, A)
    assert view is not None
    assert view.eula_accepted is True


def test_a_part_of_a_bundle_can_be_asked_for_but_a_category_is_no_update(catalogue: Database) -> None:
    """What is hidden from lists still has a page; what is no update has none."""
    with catalogue.read() as connection:
        hidden = get_update(connection, E)
        assert hidden is not None
        assert hidden.explicitly_deployable is False
        assert get_update(connection, SECURITY) is None
        assert get_update(connection, F) is None


# --- without metadata -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "expected", "error"),
    [
        ({200: None}, "queued", None),
        ({200: "not_offered"}, "not_offered", "not_offered 200"),
        ({200: "failed"}, "failed", "failed 200"),
        ({200: "not_offered", 201: "failed"}, "failed", "failed 201"),
        ({200: "failed", 201: None}, "queued", None),
    ],
)
def test_an_update_without_metadata_says_where_it_stands(
    database: Database, now: datetime, states: dict[int, Any], expected: str, error: str | None
) -> None:
    """The most hopeful state of its reported revisions, with the reason."""
    with database.write() as connection:
        for number, state in states.items():
            enqueue_needed(connection, [(A, number)], now)
            if state is not None:
                mark_needed(connection, [UpdateIdentity(A, number)], state, now, f"{state} {number}")
        view = get_update(connection, A)
    assert view is not None
    assert (view.title, view.source_state, view.source_error) == (None, expected, error)
    assert view.revision_number == max(states)


def test_an_update_a_device_named_but_nobody_asked_for_is_unknown(database: Database, now: datetime) -> None:
    """It has a page, and nobody else has."""
    with database.write() as connection:
        report(connection, A, "installed", now)
        view = get_update(connection, A)
        assert get_update(connection, B) is None
    assert view is not None
    assert (view.title, view.source_state, view.revision_number) == (None, "unknown", None)


def test_a_needed_revision_without_a_number_has_none(database: Database, now: datetime) -> None:
    """Some builds do not report it."""
    with database.write() as connection:
        enqueue_needed(connection, [(A, 0)], now)
        view = get_update(connection, A)
    assert view is not None
    assert (view.source_state, view.revision_number) == ("queued", None)


# --- lists ----------------------------------------------------------------------------------------------


def test_lists_hold_visible_updates_only(catalogue: Database) -> None:
    """Neither categories nor parts of bundles, each once; expired ones are told as such."""
    assert listed(catalogue) == ["d", "c", "b", "a"]


FILTERS: list[tuple[dict[str, Any], str]] = [
    ({"classification": SECURITY}, "dba"),
    ({"classification": DRIVERS}, "c"),
    ({"classification": EULA}, ""),
    ({"product": WINDOWS}, "ba"),
    ({"product": SERVER}, "a"),
    ({"severity": "critical"}, "a"),
    ({"severity": "low"}, ""),
    ({"kb": "5041585"}, "a"),
    ({"kb": "kb504"}, "a"),
    ({"kb": "5041"}, ""),
    ({"kb": "no number"}, ""),
    ({"superseded": True}, "a"),
    ({"superseded": False}, "dcb"),
    ({"expired": True}, "d"),
    ({"expired": False}, "cba"),
    ({"update_type": "driver"}, "c"),
    ({"eula": "none"}, "dcb"),
    ({"eula": "open"}, "a"),
    ({"eula": "accepted"}, ""),
    ({"q": "CUMULATIVE"}, "ba"),
    ({"q": "100%"}, "a"),
    ({"q": "1_0%"}, ""),
    ({"q": "old title"}, ""),
    ({"q": "5041585"}, "a"),
    ({"q": "KB 504"}, "a"),
    ({"q": A.upper()}, "a"),
    ({"q": E}, ""),
    ({"q": "cumulative", "superseded": False, "classification": SECURITY}, "b"),
    ({"limit": 1}, "d"),
]
"""Filters, and the first letters of what they leave."""


def test_filters_narrow_the_list(catalogue: Database) -> None:
    """Each alone and together; signs of the pattern language are ordinary."""
    found = [(filters, "".join(listed(catalogue, **filters))) for filters, _ in FILTERS]
    assert found == FILTERS


def test_needed_is_what_a_device_lacks(catalogue: Database, now: datetime) -> None:
    """Installable or failed, on any device."""
    with catalogue.write() as connection:
        for update_id, state in ((A, "installable"), (B, "installed"), (C, "failed"), (D, "pending_reboot")):
            report(connection, update_id, state, now)
    assert listed(catalogue, needed_only=True) == ["c", "a"]
    assert listed(catalogue, needed_only=True, q="driver") == ["c"]
    with catalogue.read() as connection:
        counted = [get_update(connection, each) for each in (A, B)]
    assert [each and each.needed_by for each in counted] == [1, 0]


def test_pages_go_on_where_the_last_ended(catalogue: Database) -> None:
    """The position of a row is what the next page comes after."""
    with catalogue.read() as connection:
        first = list_updates(connection, limit=3)
        assert [row.update.update_id[0] for row in first] == ["d", "c", "b"]
        rest = list_updates(connection, limit=3, after=first[-1].position)
        assert [row.update.update_id[0] for row in rest] == ["a"]
        assert list_updates(connection, after=rest[-1].position) == ()
        assert list_updates(connection, q="update", after=first[0].position) == ()


def test_titles_come_in_the_language_asked_for(
    database: Database, document: Callable[..., str], now: datetime
) -> None:
    """Where the update has it; the page of an update has all of them."""
    german = (
        "<u:LocalizedProperties><u:Language>de</u:Language><u:Title>Kumulatives Update</u:Title>"
        "<u:Description>Behebt etwas.</u:Description></u:LocalizedProperties></u:LocalizedPropertiesCollection>"
    )
    both = document(A, title="Cumulative").replace("</u:LocalizedPropertiesCollection>", german)
    with database.write() as connection:
        store(connection, [both, document(B, title="English only")], now)
        rows = list_updates(connection, language="DE")
        assert [(row.update.language, row.update.title, row.update.description) for row in rows] == [
            ("en", "English only", None),
            ("de", "Kumulatives Update", "Behebt etwas."),
        ]
        assert [row.update.title for row in list_updates(connection)] == ["English only", "Cumulative"]
        detail = get_update(connection, A)
    assert detail is not None
    assert detail.texts == (
        TextView("en", "Cumulative", None),
        TextView("de", "Kumulatives Update", "Behebt etwas."),
    )


def test_an_update_has_its_history_and_its_whole_chain(
    database: Database, document: Callable[..., str], now: datetime
) -> None:
    """Revisions, the newest first; supersedence through an update that has expired, both ways."""
    with database.write() as connection:
        store(
            connection,
            [
                document(A, 100),
                document(A, 101, title="Again", supersedes=(F,)),
                document(B, supersedes=(A,), expired=True),
                document(C, supersedes=(B,)),
            ],
            now,
        )
        oldest, newest = get_update(connection, A), get_update(connection, C)
        assert [(row.update.update_id, row.update.superseded) for row in list_updates(connection)] == [
            (C, False),
            (B, True),
            (A, True),
        ]
    assert oldest is not None
    assert newest is not None
    assert [(each.revision_number, each.title) for each in oldest.revisions] == [
        (101, "Again"),
        (100, "An update"),
    ]
    assert (oldest.superseded, oldest.superseded_by) == (True, ())
    assert oldest.chain == Chain(supersedes=(F,), superseded_by=(C,))
    assert newest.chain == Chain(supersedes=(A, B, F), superseded_by=())
    assert (newest.superseded, newest.supersedes) == (False, (B,))


def test_classifications_and_products_are_counted(catalogue: Database) -> None:
    """By visible updates of the highest revision; those without any are listed with none."""
    with catalogue.read() as connection:
        assert list_classifications(connection) == (
            CategoryView(DRIVERS, "Drivers", 1),
            CategoryView(SECURITY, "Security Updates", 3),
        )
        assert list_products(connection) == (
            CategoryView(SERVER, "Server 2025", 1),
            CategoryView(WINDOWS, "Windows 11", 2),
        )


def test_an_empty_catalogue_has_empty_lists(database: Database) -> None:
    """And no page for anything."""
    with database.read() as connection:
        assert list_updates(connection) == ()
        assert list_classifications(connection) == list_products(connection) == ()
