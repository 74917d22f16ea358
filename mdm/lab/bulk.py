"""A catalogue of any size that is nowhere: each id is arithmetic, and each document is made when it is asked for.

    revisions  |  categories  |  detectoids  |  block 0  |  block 1  |  ...
                                             |  25 revisions each

A block is what one release brings: a bundle in two revisions, its hidden children and their leaves, an update for
one language that needs the bundle, and two drivers. Blocks take turns among 60 lines of products and
classifications, and each bundle supersedes the earlier ones of its line. The ids look random, as real ones do,
because in a database that is what costs.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from mdm.lab import bulk_patterns as patterns
from mdm.lab.dice import Dice
from mdm.lab.documents import Document, File, Identity, document
from mdm.lab.products import COMPANY, CRITICAL, DRIVERS, FEATURE_PACKS, ROLLUPS, SECURITY, UPDATES
from mdm.lab.releases.categories import configuration
from mdm.lab.releases.licences import licence_files
from mdm.lab.template import Template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from mdm.lab.documents import EulaFile, Revision

__all__ = ["BIG_DOCUMENT_BYTES", "BLOCK", "LEAST", "BulkCatalogue", "Facts"]

BIG_DOCUMENT_BYTES: Final = 47_000_000
"""The largest document known to be published: a package manifest of 46,887,043 bytes."""
LEAST: Final = 200
"""The smallest catalogue: the categories, some detectoids and a block."""
BLOCK: Final = 25
"""Revisions in a block."""

_LINES: Final = 60
_PRODUCTS: Final = 12
_CLASSES: Final = (SECURITY, CRITICAL, ROLLUPS, UPDATES, FEATURE_PACKS)
_LICENCES: Final = 8
_LICENSED_EVERY: Final = 50
_EXPIRED_EVERY: Final = 7
_LARGE_EVERY: Final = 41
_DETECTOIDS_OF: Final = 40
"""One revision in so many is a detectoid, as on a WSUS with everything."""

# the slots of a block
_BUNDLE, _BUNDLE_AGAIN, _HIDDEN, _LEAVES = 0, 1, (2, 3), range(4, 22)
_MANIFEST, _LANGUAGE, _DRIVERS = 21, 22, (23, 24)

_SMALL_MANIFEST, _LARGE_MANIFEST = 60, 1_200
"""Components in a package manifest: some 20 and 400 KB."""

_BETWEEN: Final = timedelta(hours=20)
_LANGUAGES: Final = ("de", "fr", "ja", "pt-br", "zh-cn")
"""Of the updates for one language."""

_NUMBERS: Final = (patterns.SECOND, patterns.FIRST, patterns.DETECTOID, patterns.DRIVER)
"""RevisionNumbers, the highest first."""

_BITS: Final = 48
_MASK: Final = (1 << _BITS) - 1
_ODD: Final = 0x9E37_79B9_7F4B
_INVERSE: Final = pow(_ODD, -1, 1 << _BITS)


class Facts(NamedTuple):
    """What a revision is listed by."""

    configuration: bool
    """A category or detectoid."""
    categories: frozenset[str]
    languages: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Ids:
    """Numbers in the shape of GUIDs and digests, spread over their whole range; and back."""

    key: int
    tail: str
    """The last 21 characters of every GUID."""
    salt: bytes

    @classmethod
    def of(cls, dice: Dice) -> _Ids:
        """The ids of one catalogue."""
        return cls(
            int.from_bytes(dice.bytes("bulk/key")[:6], "big"), dice.guid("bulk")[14:], dice.bytes("bulk/salt")
        )

    def guid(self, number: int) -> str:
        """The UpdateID of a number."""
        text = f"{self._spread(number):012x}"
        return f"{text[:8]}-{text[8:]}-{self.tail}"

    def number(self, guid: str) -> int | None:
        """The number of an UpdateID, or None if it is not of this catalogue; it may be too large all the same."""
        if guid[14:] != self.tail:
            return None
        return self._gather(int(guid[:8] + guid[9:13], 16))

    def digests(self, number: int) -> tuple[bytes, bytes]:
        """SHA-1 and SHA-256 of the one file of a number."""
        head = self._spread(number).to_bytes(6, "big")
        return head + self.salt[:14], head + self.salt[6:]

    def number_of_digest(self, sha1: bytes) -> int | None:
        """The number of a file's SHA-1, or None."""
        return self._gather(int.from_bytes(sha1[:6], "big")) if sha1[6:] == self.salt[:14] else None

    def _spread(self, number: int) -> int:
        return (number * _ODD + self.key) & _MASK

    def _gather(self, spread: int) -> int:
        return (spread - self.key) * _INVERSE & _MASK


class BulkCatalogue:
    """`size` revisions: the same seed and size always give the same ids and documents."""

    def __init__(self, seed: int, size: int, *, big_document: bool = False) -> None:
        """`big_document` makes one leaf of the first block as long as the longest document published.

        Raises ValueError for fewer than 200 revisions.
        """
        if size < LEAST:
            raise ValueError(f"a generated catalogue has at least {LEAST} revisions, not {size}")
        self.size = size
        self._big_document = big_document
        dice = Dice(seed)
        self._ids = _Ids.of(dice)
        self._products = tuple(dice.guid(f"bulk/product/{number}") for number in range(_PRODUCTS))
        self._driver_product = dice.guid("bulk/product/drivers")
        self._licences = tuple(_licence(dice, number) for number in range(_LICENCES))
        self.fixed: tuple[Document, ...] = (
            *map(document, configuration(dice)),
            *map(document, self._categories(dice.guid("bulk/family"))),
        )
        """The categories, which are few and made at once."""
        rest = size - len(self.fixed)
        self.blocks = (rest - size // _DETECTOIDS_OF) // BLOCK
        self._detectoids = rest - self.blocks * BLOCK
        self._facts = tuple(self._facts_of_kinds())
        self._templates = self._make_templates()

    # --- what there is ----------------------------------------------------------------------------------

    def select(self, wanted: Callable[[Facts], bool], first: int, last: int) -> Iterator[Identity]:
        """Revisions of the blocks from `first` to before `last` whose facts are wanted, whole with what they need.

        Block 0 comes with the detectoids.
        """
        verdicts = [wanted(facts) for facts in self._facts]
        if first == 0 and verdicts[0]:
            yield from map(self.identity, range(self._detectoids))
        for block in range(first, last):
            line = block % _LINES
            software, language, driver = verdicts[1 + 3 * line : 4 + 3 * line]
            start = self._detectoids + block * BLOCK
            if software or language:
                yield from map(self.identity, range(start, start + _LANGUAGE))
            if language:
                yield self.identity(start + _LANGUAGE)
            if driver:
                yield from (self.identity(start + slot) for slot in _DRIVERS)

    def block_of(self, identity: Identity) -> int | None:
        """The block a revision belongs to, detectoids to block 0; None if it is not one of these."""
        index = self.index(identity)
        return None if index is None else max(0, (index - self._detectoids) // BLOCK)

    def identity(self, index: int) -> Identity:
        """The identity of the revision with this number, from 0; the categories are not counted."""
        if index < self._detectoids:
            return Identity(self._ids.guid(index), patterns.DETECTOID)
        slot = (index - self._detectoids) % BLOCK
        if slot == _BUNDLE_AGAIN:
            return Identity(self._ids.guid(index - 1), patterns.SECOND)
        return Identity(self._ids.guid(index), patterns.DRIVER if slot in _DRIVERS else patterns.FIRST)

    def index(self, identity: Identity) -> int | None:
        """The number of a revision, or None if it is not one of these."""
        number = self._ids.number(identity.update_id)
        if number is None or number >= self._detectoids + self.blocks * BLOCK:
            return None
        return next((each for each in (number, number + 1) if self.identity(each) == identity), None)

    def newest(self, update_id: str) -> Identity | None:
        """The highest revision of an update, or None if it is not one of these."""
        found = (Identity(update_id, number) for number in _NUMBERS)
        return next((each for each in found if self.index(each) is not None), None)

    @property
    def licence_texts(self) -> Iterator[File]:
        """The files this catalogue's upstream serves itself."""
        return (text.file for _, texts in self._licences for text in texts)

    def knows_digest(self, digest: str) -> bool:
        """True if a document made here has a payload file with this base64 SHA-1."""
        try:
            number = self._ids.number_of_digest(base64.b64decode(digest, validate=True))
        except binascii.Error:
            return False
        slot = -1 if number is None else number - self._detectoids
        return 0 <= slot < self.blocks * BLOCK and _has_file(slot % BLOCK)

    # --- documents --------------------------------------------------------------------------------------

    def document(self, index: int) -> Document:
        """The document of the revision with this number."""
        if index < self._detectoids:
            return self._detectoid(index)
        block, slot = divmod(index - self._detectoids, BLOCK)
        if slot in (_BUNDLE, _BUNDLE_AGAIN):
            return self._bundle(block, index)
        if slot in _HIDDEN:
            return self._hidden(block, index)
        return self._payload(block, index, slot)

    def licence(self, block: int) -> tuple[str, tuple[EulaFile, ...]] | None:
        """EulaID and texts of a block's bundle; None for most: many updates share few licences."""
        if block % _LICENSED_EVERY:
            return None
        return self._licences[block // _LICENSED_EVERY % _LICENCES]

    def _detectoid(self, index: int) -> Document:
        identity = self.identity(index)
        values = {"id": identity.update_id, "number": f"{index:05d}", "created": _timestamp(patterns.EPOCH)}
        return Document(*identity, self._templates["detectoid"].fill(values), update_type="Detectoid")

    def _bundle(self, block: int, index: int) -> Document:
        identity = self.identity(index)
        start = self._detectoids + block * BLOCK
        earlier = range(block - _LINES, block - _LINES * (patterns.DIRECT + 1), -_LINES)
        # an earlier block that never was is a relation to an update nobody has: real catalogues are full of them
        superseded = [
            self._ids.guid(self._detectoids + each * BLOCK if each >= 0 else -1 - start + each)
            for each in earlier
        ]
        licence = self.licence(block)
        licensed = "" if licence is None else f"_{block // _LICENSED_EVERY % _LICENCES}"
        again = identity.revision_number == patterns.SECOND
        state = "expired" if again and block % _EXPIRED_EVERY == 0 else "live"
        values = self._values(block, identity.update_id) | {
            "kb": str(5_000_000 + block),
            "month": f"{self._moment(block):%Y-%m}",
            **{f"superseded{number}": guid for number, guid in enumerate(superseded)},
            **{f"hidden{number}": self._ids.guid(start + slot) for number, slot in enumerate(_HIDDEN)},
            "ready": self._ids.guid(block % self._detectoids),
        }
        text = self._templates[f"bundle_{state}_{identity.revision_number}{licensed}"].fill(values)
        return Document(
            *identity,
            text,
            files=() if licence is None else tuple(each.file for each in licence[1]),
            categories=self._facts[1 + 3 * (block % _LINES)].categories,
            prerequisites=frozenset({values["ready"]}),
            bundled=tuple(Identity(self._ids.guid(start + slot), patterns.FIRST) for slot in _HIDDEN),
        )

    def _hidden(self, block: int, index: int) -> Document:
        identity = self.identity(index)
        which = (index - self._detectoids) % BLOCK - _HIDDEN[0]
        children = [
            self._ids.guid(self._detectoids + block * BLOCK + slot)
            for slot in _LEAVES[which * patterns.CHILDREN :][: patterns.CHILDREN]
        ]
        values = self._values(block, identity.update_id) | {
            "which": str(which + 1),
            **{f"child{number}": guid for number, guid in enumerate(children)},
        }
        return Document(
            *identity,
            self._templates["hidden"].fill(values),
            prerequisites=frozenset({values["product"], values["class"]}),
            bundled=tuple(Identity(guid, patterns.FIRST) for guid in children),
        )

    def _payload(self, block: int, index: int, slot: int) -> Document:
        """A leaf, the update for one language, or a driver: what has a file."""
        identity = self.identity(index)
        file = self._file(block, index, slot)
        values = self._values(block, identity.update_id) | {
            "sha1": file.digest,
            "sha256": base64.b64encode(file.sha256).decode("ascii"),
            "size": str(file.size),
            "file": file.name,
            "slot": f"{slot:02d}",
            "ready": self._ids.guid(index % self._detectoids),
        }
        facts = Facts(configuration=False, categories=frozenset(), languages=frozenset())
        needs = {values["ready"], values["product"]}
        if slot in _DRIVERS:
            kind, facts = "driver", self._facts[3 + 3 * (block % _LINES)]
            values |= {"device": f"{index % 0x10000:04X}", "date": f"{self._moment(block):%Y-%m-%d}"}
            needs = set()
        elif slot == _LANGUAGE:
            facts = self._facts[2 + 3 * (block % _LINES)]
            (language,) = facts.languages
            kind = f"language_{language}"
            values |= {"kb": str(8_000_000 + block), "bundle": self._ids.guid(index - _LANGUAGE)}
            needs = {values["bundle"]}
        elif slot == _MANIFEST:
            kind = "manifest"
            values["manifest"] = self._manifest(block, values["version"])
        else:
            kind = "delta" if slot % 2 else "full"
        return Document(
            *identity,
            self._templates[kind].fill(values),
            files=(file,),
            update_type="Driver" if slot in _DRIVERS else "Software",
            categories=facts.categories,
            prerequisites=frozenset(needs),
            languages=facts.languages,
        )

    def _values(self, block: int, update_id: str) -> dict[str, str]:
        line, moment = block % _LINES, self._moment(block)
        return {
            "id": update_id,
            "product": self._products[line % _PRODUCTS],
            "class": _CLASSES[line % len(_CLASSES)],
            "title": _product_title(line % _PRODUCTS),
            "version": f"10.{line}.{block // _LINES}.{1000 + block % 1000}",
            "created": _timestamp(moment),
            "modified": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        }

    def _file(self, block: int, index: int, slot: int) -> File:
        sha1, sha256 = self._ids.digests(index)
        name = f"package-{block}-{slot}.{'cab' if slot in (_MANIFEST, *_DRIVERS) else 'exe'}"
        moment = self._moment(block)
        return File(
            name=name,
            size=1_000_000 + index * 7919 % 90_000_000,
            sha1=sha1,
            sha256=sha256,
            modified=moment,
            url=f"http://download.windowsupdate.com/c/msdownload/update/software/updt/{moment:%Y/%m}/"
            f"{name.rpartition('.')[0]}_{sha1.hex()}.{name.rpartition('.')[2]}",
        )

    def _manifest(self, block: int, version: str) -> str:
        if block == 0 and self._big_document:
            one = patterns.manifest_rules(1, version)
            each = len(patterns.manifest_rules(2, version)) - len(one)
            return patterns.manifest_rules(BIG_DOCUMENT_BYTES // each, version)
        return patterns.manifest_rules(_SMALL_MANIFEST if block % _LARGE_EVERY else _LARGE_MANIFEST, version)

    def _moment(self, block: int) -> datetime:
        return patterns.EPOCH + block * _BETWEEN

    # --- made once --------------------------------------------------------------------------------------

    def _facts_of_kinds(self) -> Iterator[Facts]:
        """Detectoids; then of each line its bundles, hidden and leaves, its language updates, its drivers."""
        yield Facts(configuration=True, categories=frozenset(), languages=frozenset())
        for line in range(_LINES):
            own = frozenset({self._products[line % _PRODUCTS], _CLASSES[line % len(_CLASSES)]})
            language = _LANGUAGES[line // _PRODUCTS]
            yield Facts(configuration=False, categories=own, languages=frozenset())
            yield Facts(configuration=False, categories=own, languages=frozenset({language}))
            drivers = frozenset({self._driver_product, DRIVERS})
            yield Facts(configuration=False, categories=drivers, languages=frozenset())

    def _categories(self, family: str) -> Iterator[Revision]:
        yield patterns.category(family, "ProductFamily", "Fabrikam Systems", COMPANY)
        for number, product in enumerate(self._products):
            yield patterns.category(product, "Product", _product_title(number), family)
        yield patterns.category(self._driver_product, "Product", "Fabrikam Drivers", family)

    def _make_templates(self) -> Mapping[str, Template]:
        made = {
            "detectoid": patterns.detectoid(),
            "hidden": patterns.hidden(),
            "full": patterns.leaf(delta=False),
            "delta": patterns.leaf(delta=True),
            "manifest": patterns.manifest(),
            "driver": patterns.driver(self._driver_product),
            **{f"language_{language}": patterns.language_pack(language) for language in _LANGUAGES},
        }
        licences = {"": None, **{f"_{number}": each for number, each in enumerate(self._licences)}}
        for suffix, licence in licences.items():
            for number in (patterns.FIRST, patterns.SECOND):
                for state in ("live", "expired"):
                    made[f"bundle_{state}_{number}{suffix}"] = patterns.bundle(
                        number, licence, expired=state == "expired"
                    )
        return {name: Template(revision) for name, revision in made.items()}


def _licence(dice: Dice, number: int) -> tuple[str, tuple[EulaFile, ...]]:
    return dice.guid(f"bulk/eula/{number}"), licence_files(f"Fabrikam licence {number + 1}", patterns.EPOCH)


def _has_file(slot: int) -> bool:
    return slot >= _LEAVES[0]


def _product_title(number: int) -> str:
    return f"Fabrikam Server {2003 + 2 * number}"


def _timestamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
