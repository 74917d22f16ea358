"""A SyncML message as immutable values, in the vocabulary of RepPro 1.2.1.

Text is kept as the peer wrote it (SessionID, CmdID and refs are opaque strings: "0" and UUIDs are legal).
Elements the package does not know are kept in `extra`, so that reading and writing loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "Add",
    "Alert",
    "Atomic",
    "Chal",
    "Command",
    "Copy",
    "Cred",
    "Delete",
    "Exec",
    "Extension",
    "Get",
    "Item",
    "Location",
    "Message",
    "Meta",
    "Replace",
    "Results",
    "Sequence",
    "Status",
    "SyncHdr",
    "Unknown",
]


@dataclass(frozen=True, slots=True)
class Extension:
    """An element this package does not know, kept whole."""

    name: str
    """Local name."""
    namespace: str = ""
    text: str = ""
    """Character data before the first child; text between children is not kept."""
    attributes: tuple[tuple[str, str], ...] = ()
    """(name, value) pairs in document order; a namespaced name is written `{namespace}local`."""
    children: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Location:
    """The content of Target or Source: LocURI and an optional LocName (RepPro 7.1.20)."""

    loc_uri: str
    loc_name: str | None = None
    extra: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Meta:
    """Meta information, every child in namespace `syncml:metinf` (MetInf 1.2)."""

    format: str | None = None
    """`chr` (default), `int`, `bool`, `node`, `xml`, `b64`, `null`, `bin`, `date`, `time`, `float`."""
    type: str | None = None
    """MIME or alert type; `text/plain` when absent."""
    mark: str | None = None
    size: int | None = None
    """Octets of a large object, in its first chunk only."""
    next_nonce: str | None = None
    """Base64 of the nonce octets."""
    max_msg_size: int | None = None
    """Octets the sender can receive in one message."""
    max_obj_size: int | None = None
    """Octets the sender can receive in one object."""
    extra: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Cred:
    """Credentials in a SyncHdr; `meta.type` is the scheme, `data` the digest or encoded pair (RepPro 7.3)."""

    data: str
    meta: Meta = Meta()


@dataclass(frozen=True, slots=True)
class Chal:
    """A challenge: `meta.type` is the scheme wanted, `meta.next_nonce` the nonce to use (RepPro 7.1.1)."""

    meta: Meta


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a command (RepPro 7.4.4)."""

    target: Location | None = None
    source: Location | None = None
    meta: Meta | None = None
    data: str | None = None
    """Character data; markup inside Data is kept as its XML text. None: no Data element."""
    more_data: bool = False
    """True: further chunks of this item follow in the next messages."""
    extra: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Add:
    """Create a node; an existing one answers 418 (RepPro 7.5.1)."""

    cmd_id: str
    items: tuple[Item, ...]
    meta: Meta | None = None
    no_resp: bool = False
    extra: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Replace:
    """Set a node's value; also carries DevInfo from the device in package 1 (RepPro 7.5.10)."""

    cmd_id: str
    items: tuple[Item, ...]
    meta: Meta | None = None
    no_resp: bool = False
    extra: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a subtree (RepPro 7.5.4)."""

    cmd_id: str
    items: tuple[Item, ...]
    meta: Meta | None = None
    no_resp: bool = False
    extra: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy a node; Windows answers 406 or 501 (RepPro 7.5.3)."""

    cmd_id: str
    items: tuple[Item, ...]
    meta: Meta | None = None
    no_resp: bool = False
    extra: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Get:
    """Ask for a node's value, its children's names, or with `?list=` its subtree (RepPro 7.5.6)."""

    cmd_id: str
    items: tuple[Item, ...]
    meta: Meta | None = None
    no_resp: bool = False
    extra: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Exec:
    """Run an executable node; exactly one item on the wire (RepPro 7.5.5)."""

    cmd_id: str
    items: tuple[Item, ...]
    meta: Meta | None = None
    no_resp: bool = False
    correlator: str | None = None
    extra: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Atomic:
    """Commands of which all or none take effect (RepPro 7.5.2)."""

    cmd_id: str
    commands: tuple[Command, ...]
    meta: Meta | None = None
    no_resp: bool = False
    extra: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Sequence:
    """Commands to be executed in this order (RepPro 7.5.12)."""

    cmd_id: str
    commands: tuple[Command, ...]
    meta: Meta | None = None
    no_resp: bool = False
    extra: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Alert:
    """A notification; `data` is the alert code as text (RepPro 7.5.2, MS-MDM 2.2.7.2)."""

    cmd_id: str
    data: str
    items: tuple[Item, ...] = ()
    correlator: str | None = None
    no_resp: bool = False
    extra: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """The answer to a command or to the SyncHdr (`cmd_ref` "0") of message `msg_ref` (RepPro 7.5.14)."""

    cmd_id: str
    msg_ref: str
    cmd_ref: str
    cmd: str
    data: str
    """The status code as text."""
    target_refs: tuple[str, ...] = ()
    source_refs: tuple[str, ...] = ()
    cred: Cred | None = None
    chal: Chal | None = None
    items: tuple[Item, ...] = ()
    original_error: str | None = None
    """`msft:originalerror` of Data, a HRESULT such as `0x86000002` (MS-MDM 2.2.6.1, Windows 10 1903+)."""
    extra: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Results:
    """What a Get found; `cmd` is written by the specification's samples but not by Windows (RepPro 7.5.11)."""

    cmd_id: str
    msg_ref: str
    cmd_ref: str
    items: tuple[Item, ...]
    cmd: str | None = None
    meta: Meta | None = None
    target_ref: str | None = None
    source_ref: str | None = None
    extra: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Unknown:
    """An element where a command should stand that is none: answered 400, never a crash."""

    name: str
    """Local name, as it goes into the Cmd of the Status."""
    cmd_id: str = ""
    """Empty when the element has no CmdID."""
    namespace: str = ""


Command: TypeAlias = (
    Add | Alert | Atomic | Copy | Delete | Exec | Get | Replace | Results | Sequence | Status | Unknown
)


@dataclass(frozen=True, slots=True)
class SyncHdr:
    """The header: who speaks to whom, in which session (RepPro 7.2.2).

    Every field may be empty when read from a peer; `session.check_header` says whether a session can use it.
    """

    session_id: str
    msg_id: str
    target: Location
    source: Location
    ver_dtd: str = "1.2"
    ver_proto: str = "DM/1.2"
    resp_uri: str | None = None
    no_resp: bool = False
    cred: Cred | None = None
    meta: Meta | None = None
    extra: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """One SyncML document: header, commands in document order, and whether the package ends here."""

    header: SyncHdr
    commands: tuple[Command, ...]
    final: bool = True
