"""How fast the catalogue is searched: a catalogue of any size, and what an administrator asks of it.

The rows are made up here and listed by the code that lists real ones. Each question is asked as the REST API asks
it, with a connection of its own and a page of views to fill.
"""

from __future__ import annotations

import random
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, text

from mdm.catalog.listing import list_again
from mdm.catalog.queries import list_updates
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    Category,
    Device,
    DeviceUpdate,
    RevisionCategory,
    RevisionRelation,
    UpdateRevision,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mdm.storage.engine import Database

__all__ = ["QUESTIONS", "Figure", "fill", "measure", "run"]

_SEED: Final = 1
_BATCH: Final = 1000
_START: Final = datetime(2016, 1, 12, 18, tzinfo=UTC)
_CLASSES: Final = (
    "Security Updates",
    "Critical Updates",
    "Definition Updates",
    "Updates",
    "Drivers",
    "Feature Packs",
)
_PRODUCTS: Final = (
    "Windows 11",
    "Windows 10",
    "Windows Server 2022",
    "Windows Server 2025",
    "Microsoft Defender Antivirus",
    "Office 2016",
    "SQL Server 2022",
    ".NET 8.0",
    "Microsoft Edge",
    "Exchange Server 2019",
)
_SEVERITIES: Final = ("Critical", "Important", "Moderate", "Low", None, None)
_KINDS: Final = (
    "Cumulative Update",
    "Security Update",
    "Servicing Stack Update",
    "Definition Update",
    "Driver Update",
)
_NEEDED: Final = 300
"""Updates that devices lack."""


def _id(kind: str, number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"csp-bridge:{kind}:{number}"))


QUESTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "first page": {},
    "one word": {"q": "cumulative"},
    "the beginning of a word": {"q": "cumul"},
    "a word of every title": {"q": "update"},
    "three words": {"q": "cumulative windows 11"},
    "a KB number": {"q": "KB5001234"},
    "a KB number without KB": {"q": "5001234"},
    "a KB article": {"kb": "5001234"},
    "a CVE": {"q": "CVE-2026-1234"},
    "a word nobody wrote": {"q": "zzyzx"},
    "a classification": {"classification": _id("class", 0)},
    "a product": {"product": _id("product", 3)},
    "severity": {"severity": "critical"},
    "classification, product, severity": {
        "classification": _id("class", 0),
        "product": _id("product", 0),
        "severity": "critical",
    },
    "not superseded": {"superseded": False},
    "superseded": {"superseded": True},
    "expired": {"expired": True},
    "words and facets": {
        "q": "security windows",
        "product": _id("product", 1),
        "severity": "important",
        "superseded": False,
    },
    "needed": {"needed_only": True},
    "needed, words": {"q": "windows", "needed_only": True},
    "without licence": {"eula": "none"},
}
"""What is asked, by a name for people: the arguments of `mdm.catalog.queries.list_updates`."""


@dataclass(frozen=True, slots=True)
class Figure:
    """How long one question took, in milliseconds."""

    question: str
    rows: int
    """On the first page."""
    asked: int
    p50: float
    p95: float
    worst: float


def run(
    database: Database,
    revisions: int,
    *,
    rounds: int = 50,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[int], None] = lambda _done: None,
) -> list[Figure]:
    """Fill an empty, migrated database with so many updates and measure every question; the last is all of them."""
    fill(database, revisions, progress=progress)
    return measure(database, rounds=rounds, clock=clock)


def fill(database: Database, revisions: int, *, progress: Callable[[int], None] = lambda _done: None) -> None:
    """Store updates, every one of them visible: the worst case for a list."""
    dice = random.Random(_SEED)
    with database.write() as connection:
        for kind, titles, category_type in (
            ("class", _CLASSES, "UpdateClassification"),
            ("product", _PRODUCTS, "Product"),
        ):
            rows = [
                {
                    "id": _id(kind, number),
                    "revision_number": 1,
                    "category_type": category_type,
                    "title": title,
                }
                for number, title in enumerate(titles)
            ]
            connection.execute(insert(table_of(Category)), rows)
    for start in range(0, revisions, _BATCH):
        numbers = range(start, min(start + _BATCH, revisions))
        with database.write() as connection:
            connection.execute(insert(table_of(UpdateRevision)), [_revision(each, dice) for each in numbers])
            connection.execute(insert(table_of(RevisionCategory)), _categories(numbers))
            relations = _relations(numbers)
            if relations:
                connection.execute(insert(table_of(RevisionRelation)), relations)
    # listed when all are there, so that each has what supersedes it
    for start in range(0, revisions, _BATCH):
        numbers = range(start, min(start + _BATCH, revisions))
        with database.write() as connection:
            list_again(connection, [_id("update", number) for number in numbers])
        progress(numbers.stop)
    with database.write() as connection:
        _report(connection, revisions)
        connection.execute(text("ANALYZE"))


def measure(
    database: Database, *, rounds: int, clock: Callable[[], float] = time.perf_counter
) -> list[Figure]:
    """Ask every question so many times, in turns so that none finds its own rows still warm."""
    times: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    rows = dict.fromkeys(QUESTIONS, 0)
    for _ in range(rounds):
        for name, arguments in QUESTIONS.items():
            begun = clock()
            with database.read() as connection:
                rows[name] = len(list_updates(connection, **arguments))
            times[name].append((clock() - begun) * 1000)
    figures = [_figure(name, rows[name], taken) for name, taken in times.items()]
    return [
        *figures,
        _figure("all", sum(rows.values()), [each for taken in times.values() for each in taken]),
    ]


def _figure(question: str, rows: int, taken: Sequence[float]) -> Figure:
    ordered = sorted(taken)
    p95 = ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]
    return Figure(question, rows, len(ordered), ordered[len(ordered) // 2], p95, ordered[-1])


# --- rows -----------------------------------------------------------------------------------------------


def _revision(number: int, dice: random.Random) -> dict[str, Any]:
    created = _START + timedelta(minutes=35 * number)
    product = _PRODUCTS[_product(number)]
    kb = str(5_000_000 + number // 3)
    title = (
        f"{created:%Y-%m} {_KINDS[number % len(_KINDS)]} for {product} Version {21 + number % 6}H2 "
        f"for {('x64', 'ARM64', 'x86')[number % 3]}-based Systems (KB{kb})"
    )
    return {
        "update_id": _id("update", number),
        "revision_number": 200,
        "is_latest": True,
        "update_type": "Software",
        "language": "en",
        "title": title,
        "description": "Install this update to resolve issues in Windows. For a complete listing of the issues "
        f"that are included in this update, such as CVE-{created:%Y}-{dice.randrange(1000, 9999)}, see the "
        "associated Microsoft Knowledge Base article. After you install this item, you may have to restart.",
        "kb": kb,
        "kb_all": [kb],
        "msrc_severity": _SEVERITIES[number % len(_SEVERITIES)],
        "created": created,
        "publication_state": "Expired" if number % 50 == 0 else "Published",
        "explicitly_deployable": True,
        "classification_id": _id("class", _class(number)),
        "can_uninstall": False,
        "max_download_size": dice.randrange(10**6, 10**9),
        "download_size": 10**6,
        "upstream_url": "http://bench.test",
        "fetched_at": created,
        "original": b"",
    }


def _class(number: int) -> int:
    return number % 7 % len(_CLASSES)


def _product(number: int) -> int:
    return number % 13 % len(_PRODUCTS)


def _categories(numbers: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {"update_id": _id("update", number), "revision_number": 200, "category_id": category_id}
        for number in numbers
        for category_id in (_id("class", _class(number)), _id("product", _product(number)))
    ]


def _relations(numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Four of five updates are superseded, each by the one that came 130 later: chains of ten."""
    return [
        {
            "update_id": _id("update", number),
            "revision_number": 200,
            "kind": "supersedes",
            "clause": 0,
            "target_id": _id("update", number - 130),
        }
        for number in numbers
        if number >= 130 and number // 130 % 10 and number % 5  # noqa: PLR2004 - a made-up rhythm
    ]


def _report(connection: Any, revisions: int) -> None:
    """A device that lacks some updates, and has installed as many."""
    key = connection.execute(
        insert(table_of(Device)).returning(table_of(Device).c.pk),
        {
            "id": "bench",
            "device_id": "bench",
            "name": "bench",
            "created_at": _START,
            "auth_scheme": "syncml:auth-md5",
            "auth_username": "bench",
            "auth_verifier": b"",
            "auth_nonce": "",
        },
    ).scalar_one()
    rows = [
        {
            "device_pk": key,
            "update_id": _id("update", number * max(1, revisions // _NEEDED)),
            "lists": 1,
            "state": ("installable", "installed", "failed")[number % 3],
            "since": _START,
        }
        for number in range(min(_NEEDED, revisions))
    ]
    connection.execute(insert(table_of(DeviceUpdate)), rows)
