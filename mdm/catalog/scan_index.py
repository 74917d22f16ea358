"""The master list of Microsoft's offline scan file (package.xml, OfflineSync of 2004), kept in a scratch file.

It says for each revision which update it is of, what it needs and belongs to, and what supersedes and bundles it;
revisions name each other by a number that means something in this file only. The list has some hundred megabytes
of XML, so it is read in a stream, and what is needed of it later goes into a SQLite file beside it.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from xml.parsers.expat import ExpatError

from mdm.upstream.messages import UpdateIdentity, wire_guid
from mdm.upstream.xml import GuardedExpat, XmlLimits

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["ScanEntry", "ScanError", "ScanIndex"]

_LIMITS: Final = XmlLimits(bytes=1024 * 1024 * 1024, depth=16, elements=100_000_000, attributes=32)
"""The list of August 2026 has 114 MB."""
_CHUNK: Final = 1024 * 1024
_NAMESPACE: Final = "http://schemas.microsoft.com/msus/2004/02/OfflineSync}"
_NUMBER_MAX: Final = 2**31 - 1

_SCHEMA: Final = """
CREATE TABLE revision (id INTEGER PRIMARY KEY, update_id TEXT, number INTEGER, members TEXT);
CREATE TABLE superseded (newer INTEGER, older TEXT);
CREATE TABLE bundled (bundle INTEGER, child INTEGER);
CREATE TABLE location (id TEXT PRIMARY KEY, url TEXT);
CREATE TABLE category (id TEXT PRIMARY KEY, type TEXT);
"""
_INDEXES: Final = """
CREATE INDEX superseded_newer ON superseded (newer);
CREATE INDEX bundled_bundle ON bundled (bundle);
"""


class ScanError(Exception):
    """A scan file that cannot be used; the message is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class ScanEntry:
    """What the master list says of one revision."""

    identity: UpdateIdentity
    created: str | None
    language: str | None
    """Its default language."""
    categories: tuple[str, ...]
    requires: tuple[tuple[str, ...], ...]
    """A conjunction of alternatives."""
    supersedes: tuple[str, ...]
    bundles: tuple[UpdateIdentity, ...]
    eula_files: tuple[tuple[str, str | None], ...]
    """SHA-1 and language."""
    category_type: str | None
    """Of a category that some update belongs to."""


@dataclass(slots=True)
class _Update:
    """The Update element that is open."""

    revision_id: int
    update_id: str
    number: int
    members: dict[str, Any]
    superseded_by: list[int] = field(default_factory=list)
    bundled_by: list[int] = field(default_factory=list)


class ScanIndex:
    """The master list, by RevisionId."""

    def __init__(self, path: Path) -> None:
        """Make the scratch file, which must not exist."""
        self._database = sqlite3.connect(path, isolation_level=None)
        # lost with the machine, and nobody misses it
        self._database.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_SCHEMA}")

    def read(self, file: BinaryIO, size: int) -> int:
        """Read the list from the next octets of a file; return how many revisions are in it; raises ScanError."""
        reader = _Reader(self._database)
        parser = GuardedExpat(_LIMITS).ParserCreate("utf-8", "}")
        parser.StartElementHandler = reader.start
        parser.EndElementHandler = reader.end
        parser.CharacterDataHandler = lambda _text: None
        self._database.execute("BEGIN")
        try:
            while size > 0:
                chunk = file.read(min(size, _CHUNK))
                size = size - len(chunk) if chunk else 0
                parser.Parse(chunk, False)
            parser.Parse(b"", True)
        except (ExpatError, ValueError) as problem:
            raise ScanError(f"The list of updates (package.xml) cannot be read: {problem}.") from problem
        self._database.execute("COMMIT")
        self._database.executescript(_INDEXES)
        return reader.count

    def entry(self, revision_id: int) -> ScanEntry:
        """Return what the list says of a revision that `identities` has found in it."""
        row = self._one("SELECT update_id, number, members FROM revision WHERE id = ?", revision_id)
        members = json.loads(row[2])
        category = self._one("SELECT type FROM category WHERE id = ?", row[0])
        older = self._all("SELECT DISTINCT older FROM superseded WHERE newer = ? ORDER BY older", revision_id)
        children = self._all(
            "SELECT DISTINCT update_id, number FROM bundled JOIN revision ON revision.id = child "
            "WHERE bundle = ? ORDER BY update_id",
            revision_id,
        )
        return ScanEntry(
            identity=UpdateIdentity(row[0], row[1]),
            created=members["created"],
            language=members["language"],
            categories=tuple(members["categories"]),
            requires=tuple(map(tuple, members["requires"])),
            supersedes=tuple(each for (each,) in older if each != row[0]),
            bundles=tuple(UpdateIdentity(*each) for each in children),
            eula_files=tuple((sha1, language) for sha1, language in members["eulas"]),
            category_type=category[0] if category is not None else None,
        )

    def identities(self, revision_ids: Iterable[int]) -> dict[int, UpdateIdentity]:
        """Return which revisions these are; those that the list lacks are left out."""
        found: dict[int, UpdateIdentity] = {}
        for each in revision_ids:
            row = self._one("SELECT update_id, number FROM revision WHERE id = ?", each)
            if row is not None:
                found[each] = UpdateIdentity(*row)
        return found

    def url_of(self, sha1: str) -> str | None:
        """Return where a file can be fetched, or None."""
        row = self._one("SELECT url FROM location WHERE id = ?", sha1)
        return row[0] if row is not None else None

    def close(self) -> None:
        """Let go of the scratch file."""
        self._database.close()

    def _one(self, statement: str, value: object) -> Any:
        return self._database.execute(statement, (value,)).fetchone()

    def _all(self, statement: str, value: object) -> list[Any]:
        return self._database.execute(statement, (value,)).fetchall()


class _Reader:
    """Takes the list's elements as they come."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._update: _Update | None = None
        self._open: list[str] = []
        self.count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Begin an element; raises ValueError for one that cannot be meant."""
        tag = name.removeprefix(_NAMESPACE)
        self._open.append(tag)
        if len(self._open) == 1 and tag != "OfflineSyncPackage":
            raise ValueError("it is no OfflineSyncPackage")
        if tag == "Update" and self._update is None:
            self._update = _Update(
                _number(attributes, "RevisionId"),
                wire_guid(attributes.get("UpdateId", "")),
                _number(attributes, "RevisionNumber"),
                {
                    "created": attributes.get("CreationDate"),
                    "language": attributes.get("DefaultLanguage"),
                    "categories": [],
                    "requires": [],
                    "eulas": [],
                },
            )
        elif tag == "FileLocation":
            self._run(
                "INSERT OR IGNORE INTO location VALUES (?, ?)", attributes.get("Id"), attributes.get("Url")
            )
        elif self._update is not None:
            self._child(self._update, tag, attributes)

    def end(self, _name: str) -> None:
        """End an element."""
        tag = self._open.pop()
        if tag != "Update" or self._update is None:
            return
        update, self._update = self._update, None
        self.count += 1
        self._run(
            "INSERT OR IGNORE INTO revision VALUES (?, ?, ?, ?)",
            update.revision_id,
            update.update_id,
            update.number,
            json.dumps(update.members),
        )
        for newer in update.superseded_by:
            self._run("INSERT INTO superseded VALUES (?, ?)", newer, update.update_id)
        for bundle in update.bundled_by:
            self._run("INSERT INTO bundled VALUES (?, ?)", bundle, update.revision_id)

    def _child(self, update: _Update, tag: str, attributes: dict[str, str]) -> None:
        parent = self._open[-2]
        if tag == "Category":
            category = wire_guid(attributes.get("Id", ""))
            update.members["categories"].append(category)
            self._run("INSERT OR IGNORE INTO category VALUES (?, ?)", category, attributes.get("Type"))
        elif tag == "Or":
            update.members["requires"].append([])
        elif tag == "UpdateId" and parent == "Prerequisites":
            update.members["requires"].append([wire_guid(attributes.get("Id", ""))])
        elif tag == "UpdateId" and parent == "Or":
            update.members["requires"][-1].append(wire_guid(attributes.get("Id", "")))
        elif tag == "Revision" and parent == "SupersededBy":
            update.superseded_by.append(_number(attributes, "Id"))
        elif tag == "Revision" and parent == "BundledBy":
            update.bundled_by.append(_number(attributes, "Id"))
        elif tag == "File" and parent == "EulaFiles":
            update.members["eulas"].append([attributes.get("Id", ""), attributes.get("Language")])

    def _run(self, statement: str, *values: object) -> None:
        self._database.execute(statement, values)


def _number(attributes: dict[str, str], name: str) -> int:
    text = attributes.get(name, "")
    if text.isascii() and text.isdigit() and len(text) <= len(str(_NUMBER_MAX)) and int(text) <= _NUMBER_MAX:
        return int(text)
    raise ValueError(f"a {name} is {text!r:.60}")
