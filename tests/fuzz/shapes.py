"""Well-formed input out of bytes: what a fuzzer mutates steers choices, so that most of it passes the grammar.

Nothing here needs a fuzzer: the suite feeds the same functions with bytes of its own.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, TypeVar

from syncml.errors import RemoteProtocolError
from syncml.limits import DEFAULT_LIMITS
from syncml.xmltree import SPACE, Element, escape, parse, pieces, split_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["GUIDS", "LISTS", "Choices", "message", "mutate", "text"]

_T = TypeVar("_T")

GUIDS: Final = (
    "5d1c0f6e-2b7a-4c39-9e84-1a2b3c4d5e6f",
    "%7b9B8A7C6D-5E4F-4A3B-8C2D-1E0F9A8B7C6D%7d",
    "{00000000-0000-0000-0000-000000000000}",
    "not-a-guid",
)
LISTS: Final = (
    "InstallableUpdates",
    "InstalledUpdates",
    "FailedUpdates",
    "PendingRebootUpdates",
    "ApprovedUpdates",
    "LastSuccessfulScanTime",
    "Rollback/QualityUpdateStatus",
    "DeferUpgrade",
)
_LEAVES: Final = ("", "/Type", "/RevisionNumber", "/HResult", "/State", "/Status", "/ApprovedTime", "/A/B")
_TEXTS: Final = (
    *("", "0", "1", "-1", "200", "213", "2147483648", "0x80070005", "-2145124329", "٣", "9" * 400),
    *(
        " ",
        "\t\n",
        "user",
        "true",
        "2031-05-06T07:08:09Z",
        "<&\"'>",
        "]]>",
        "\r\n",
        "é漢\U0001f600",
        "\xa0\u2028",
    ),
    *("./DevInfo/Man", "./Vendor/MSFT/Update", "%", "%zz", "%ff%fe", "a/b//c", "?list=StructData", "{", "}"),
)
_TYPES: Final = (
    *("com.microsoft/MDM/LoginStatus", "com.microsoft.mdm.synctype", "com.example/other"),
    *("com.microsoft:mdm.unenrollment.userrequest", "syncml:auth-md5", "syncml:auth-basic", "text/plain"),
    "Reversed-Domain-Name:com.microsoft.mdm.requestpending",
)
_ALERTS: Final = ("1200", "1201", "1222", "1223", "1224", "1225", "1226", "1100", "", " 1201 ", "12_01", "x")
_SIZES: Final = ("0", "1", "6", "12", "4194304", "4194305", "9999999999999999999", "-1", "x")
_VERBS: Final = ("Add", "Copy", "Delete", "Exec", "Get", "Sync", "Put")
_ODD: Final = (
    "<Odd/>",
    '<Odd xmlns="urn:example:odd" kind="&quot;&#9;">text<Inner/>tail</Odd>',
    '<Type xmlns="syncml:metinf">com.microsoft.mdm.synctype</Type>',
    '<o:Data xmlns:o="urn:example:o" o:k="v">x</o:Data>',
    "<!-- a comment -->",
    "<?an instruction?>",
    "<CmdID>77</CmdID>",
    "<NoResp/>",
    "stray text",
)


class Choices:
    """Bytes, read as decisions; when they run out every decision is 0, the plainest."""

    def __init__(self, data: bytes) -> None:
        """Decide by `data`."""
        self._rest = iter(data)

    def below(self, end: int) -> int:
        """A number from 0 to end-1, end at most 256."""
        return next(self._rest, 0) % end

    def pick(self, options: Sequence[_T]) -> _T:
        """One of the options, the first when nothing is left."""
        return options[self.below(len(options))]

    def rarely(self) -> bool:
        """True once in eight."""
        return self.below(8) == 7

    def some(self, most: int, make: Callable[[Choices], str]) -> str:
        """Up to `most` things made by `make`, joined."""
        return "".join(make(self) for _ in range(self.below(most + 1)))


def text(choices: Choices) -> str:
    """A short text, with a liking for those that once broke something."""
    if choices.rarely():
        return "".join(chr(0x20 + choices.below(0x5F)) for _ in range(choices.below(12)))
    return choices.pick(_TEXTS)


def message(choices: Choices, number: int) -> bytes:
    """Device message `number` (from 1) of a session, nearly always one that can be read."""
    header = (
        f"<VerDTD>{choices.pick(('1.2', '1.1')) if not choices.rarely() else text_of(choices)}</VerDTD>"
        f"<VerProto>{'DM/1.2' if not choices.rarely() else choices.pick(('DM/1.1', 'DM/2.0', ''))}</VerProto>"
        f"<SessionID>{'7' if not choices.rarely() else text_of(choices)}</SessionID>"
        f"<MsgID>{number if not choices.rarely() else text_of(choices)}</MsgID>"
        "<Target><LocURI>https://dm.bridge.example/omadm</LocURI></Target>"
        f"<Source><LocURI>{'DEV' if not choices.rarely() else text_of(choices)}</LocURI>"
        f"{'<LocName>harbour</LocName>' if choices.rarely() else ''}</Source>"
    )
    if choices.rarely():
        header += f"<Cred>{_meta(choices)}<Data>{text_of(choices)}</Data></Cred>"
    if choices.rarely():
        header += choices.pick(
            ("<NoResp/>", '<Meta><MaxMsgSize xmlns="syncml:metinf">900</MaxMsgSize></Meta>', *_ODD)
        )
    body = choices.some(6, _command)
    final = "" if choices.below(3) == 2 else "<Final/>"
    namespace = (
        "SYNCML:SYNCML1.2" if not choices.rarely() else choices.pick(("SYNCML:SYNCML1.1", "", "urn:x"))
    )
    return (
        f'<SyncML xmlns="{namespace}"><SyncHdr>{header}</SyncHdr>'
        f'<SyncBody xmlns:msft="http://schemas.microsoft.com/MobileDevice/MDM">{body}{final}</SyncBody></SyncML>'
    ).encode()


def text_of(choices: Choices) -> str:
    """A text as character data, now and then in a CDATA section."""
    value = text(choices)
    if choices.rarely() and "]]>" not in value:
        return f"<![CDATA[{value}]]>"
    return escape(value)


def _uri(choices: Choices) -> str:
    if choices.rarely():
        return text_of(choices)
    uri = f"./Vendor/MSFT/Update/{choices.pick(LISTS)}"
    if choices.below(2):
        uri += f"/{choices.pick(GUIDS)}{choices.pick(_LEAVES)}"
    return uri


def _meta(choices: Choices) -> str:
    if choices.below(2):
        return ""
    children = ""
    if choices.below(2):
        children += f'<Format xmlns="syncml:metinf">{choices.pick(("node", "int", "chr", "b64"))}</Format>'
    if choices.below(2):
        children += f'<Type xmlns="syncml:metinf">{choices.pick(_TYPES)}</Type>'
    if choices.rarely():
        children += f'<Size xmlns="syncml:metinf">{choices.pick(_SIZES)}</Size>'
    if choices.rarely():
        children += f'<NextNonce xmlns="syncml:metinf">{text_of(choices)}</NextNonce>'
    return f"<Meta>{children}{_odd(choices)}</Meta>"


def _odd(choices: Choices) -> str:
    return choices.pick(_ODD) if choices.rarely() else ""


def _item(choices: Choices) -> str:
    where = "Target" if choices.rarely() else "Source"
    place = "" if choices.rarely() else f"<{where}><LocURI>{_uri(choices)}</LocURI></{where}>"
    data = "" if choices.rarely() else f"<Data>{_odd(choices)}{text_of(choices)}</Data>"
    more = "<MoreData/>" if choices.rarely() else ""
    return f"<Item>{place}{_meta(choices)}{data}{more}{_odd(choices)}</Item>"


def _chunk(choices: Choices) -> str:
    """A piece of one of two large objects."""
    uri = choices.pick(
        ("./Vendor/MSFT/Update/InstallableUpdates", "./Vendor/MSFT/Update/LastSuccessfulScanTime")
    )
    size = choices.pick(("12", "6", "", "18", "4194305"))
    meta = f'<Meta><Size xmlns="syncml:metinf">{size}</Size></Meta>' if size else ""
    more = "<MoreData/>" if choices.below(3) else ""
    return f"<Item><Source><LocURI>{uri}</LocURI></Source>{meta}<Data>{choices.pick(('sixsix', 'é', ''))}</Data>{more}</Item>"


def _command(choices: Choices) -> str:
    kind = choices.below(8)
    cmd_id = "" if choices.rarely() else f"<CmdID>{1 + choices.below(9)}</CmdID>"
    refs = f"<MsgRef>{choices.pick(('1', '2', '3', ''))}</MsgRef>" if not choices.rarely() else ""
    refs += f"<CmdRef>{choices.below(9)}</CmdRef>" if not choices.rarely() else ""
    if kind == 0:
        return f"<Alert>{cmd_id}<Data>{choices.pick(_ALERTS)}</Data>{choices.some(2, _item)}</Alert>"
    if kind in {1, 2}:
        items = choices.some(4, _chunk if kind == 1 else _item)
        return f"<Results>{cmd_id}{refs}{_odd(choices)}{items}</Results>"
    if kind in {3, 4}:
        error = (
            f' msft:originalerror="{escape(text(choices)).replace(chr(34), "")}"' if choices.rarely() else ""
        )
        code = choices.pick(("200", "404", "418", "500", "20000", "", "٢٠٠", "213", "507", "216", "407"))
        target = f"<TargetRef>{_uri(choices)}</TargetRef>" if choices.rarely() else ""
        chal = f"<Chal>{_meta(choices)}</Chal>" if choices.rarely() else ""
        return (
            f"<Status>{cmd_id}{refs}<Cmd>Get</Cmd>{target}{chal}<Data{error}>{code}</Data>"
            f"{_odd(choices)}</Status>"
        )
    if kind == 5:
        item = f"<Item><Source><LocURI>./DevInfo/Man</LocURI></Source><Data>{text_of(choices)}</Data></Item>"
        return f"<Replace>{cmd_id}{item}{choices.some(1, _item)}</Replace>"
    if kind == 6:
        verb = choices.pick(_VERBS)
        return f"<{verb}>{cmd_id}{_meta(choices)}{_odd(choices)}{choices.some(2, _item)}</{verb}>"
    group = choices.pick(("Atomic", "Sequence"))
    return f"<{group}>{cmd_id}{choices.some(2, _command)}{_odd(choices)}</{group}>"


def mutate(data: bytes, max_size: int, seed: int) -> bytes | None:
    """A neighbour of the document `data` that is still well-formed, or None if `data` is no document."""
    chance = random.Random(seed)  # noqa: S311 - the fuzzer wants to repeat itself
    try:
        root = parse(data, DEFAULT_LIMITS)
    except RemoteProtocolError:
        return None
    nodes = list(root.iter())
    for _ in range(chance.randint(1, 4)):
        _change(chance.choice(nodes), chance.choice(nodes), chance)
    try:
        around = Element("around")
        around.append(root)
        out = "".join(pieces(around, "")).encode()
    except (MemoryError, UnicodeEncodeError):
        return None
    return out if len(out) <= max_size else None


def _change(element: Element, other: Element, chance: random.Random) -> None:
    """One small change of `element`, possibly with something taken from `other`."""
    kind = chance.randrange(8)
    namespace, name = split_name(other.tag)
    if kind == 0 and len(element):
        del element[chance.randrange(len(element))]
    elif kind == 1 and len(element):
        element.insert(chance.randrange(len(element) + 1), chance.choice(list(element)))
    elif kind == 2:
        children = list(element)
        chance.shuffle(children)
        element[:] = children
    elif kind == 3 and not any(node is element for node in other.iter()):
        element.insert(chance.randrange(len(element) + 1), other)
    elif kind == 4:
        element.tag = _named(split_name(element.tag)[0], name)
    elif kind == 5:
        namespaces = ("", namespace, "syncml:metinf", "SYNCML:SYNCML1.2", "urn:x")
        element.tag = _named(chance.choice(namespaces), split_name(element.tag)[1])
    elif kind == 6:
        element.attrib = {chance.choice(("a", "{urn:x}a", "xmlns:b")): chance.choice(_TEXTS)}
    else:
        element[:] = []
        element.text = chance.choice((*_TEXTS, *_TYPES, *_ALERTS, *_SIZES)).strip(SPACE)


def _named(namespace: str, name: str) -> str:
    return f"{{{namespace}}}{name}" if namespace else name
