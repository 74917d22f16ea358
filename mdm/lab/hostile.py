"""The worst messages we can think of, each as large as the limits allow: what `csp-bridge bench hostile` sends.

An attack is a function that lets a `Peer` speak. What the peer sends with `send` is measured, what it sends to
get so far (`open`) is not. No attack repeats a GUID of an earlier one, so every update is a new row.
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

from syncml import client
from syncml.auth import MD5, make_cred
from syncml.large_objects import MAX_OBJECT
from syncml.limits import DEFAULT_LIMITS
from syncml.messages import Get
from syncml.namespaces import METINF, SYNCML_1_2
from syncml.reader import read_message
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mdm.devices.registry import Credentials
    from mdm.lab.bench_bridge import Cost
    from syncml.messages import Cred

__all__ = ["ATTACKS", "Attack", "Peer", "answer_lists", "guids"]

_ENDPOINT: Final = "http://127.0.0.1:8480/omadm"
"""What the peers write into Target: nothing listens there."""
_QUICK: Final = ("InstallableUpdates", "FailedUpdates", "PendingRebootUpdates", "ApprovedUpdates")
"""The lists a bridge asks for in each session."""
_LISTS: Final = (*_QUICK, "InstalledUpdates")
_UPDATE: Final = "./Vendor/MSFT/Update"
_ENVELOPE: Final = 2_048
"""Octets kept for what stands around the pieces of an attack."""
_BOUND: Final = 64
"""Elements kept likewise."""

_NONCE: Final = re.compile(rb"<NextNonce[^>]*>([^<]*)</NextNonce>")

_numbers: Final = count(1)


class Peer:
    """A device that says whatever it is told to, in a session of its own."""

    def __init__(self, device_id: str, known: Credentials, post: Callable[[bytes], Cost]) -> None:
        """`known` is what enrolling the device gave; `post` hands a message to the bridge."""
        self.device_id = device_id
        self.costs: list[Cost] = []
        """Of each message that was to be measured."""
        self.openings: list[Cost] = []
        """Of each package 1 that `open` sent."""
        self._post = post
        self._known = known
        self._nonce = b64decode(known.nonce)
        self._session = 0
        self._msg_id = 1
        self._msg_ref = "1"
        self._gets: dict[str, str] = {}

    def open(self) -> None:
        """Begin a session as a well-behaved device does, up to the bridge's Gets; RuntimeError if it sends none."""
        self._session += 1
        message, state = client.begin(
            session_id=str(self._session),
            device_id=self.device_id,
            server_uri=_ENDPOINT,
            device_info={"./DevInfo/Man": "Contoso", "./DevInfo/Mod": "Model 1"},
            cred=self._cred(),
            username=self._known.username,
        )
        self.openings.append(self._post(write_message(message)))
        turn = client.receive(state, read_message(self.openings[-1].reply))
        self._nonce = turn.next_nonce or self._nonce
        self._msg_id, self._msg_ref = 1, turn.server_msg_id
        self._gets = {}
        for command in turn.commands:
            target = command.items[0].target if isinstance(command, Get) else None
            if target is not None:
                name = target.loc_uri.partition("?")[0].rpartition("/")[2]
                self._gets[name] = command.cmd_id
        if not set(_QUICK) <= set(self._gets):
            raise RuntimeError(f"the bridge asked {sorted(self._gets)} only: {turn.verdict}, {turn.status}")

    def send(self, body: str, *, final: bool = True) -> None:
        """The next message of the open session, with `body` in its SyncBody; measured.

        RuntimeError if the bridge does not believe it: then nothing would have been measured.
        """
        self._msg_id += 1
        self._prove(body, final=final)

    def begin(self, body: str) -> None:
        """Package 1 with the right credentials and `body` in its SyncBody; measured. Raises as `send`."""
        self._session += 1
        self._msg_id = 1
        self._prove(body, final=True)

    def claim(self, body: str, more: str = "", device_id: str | None = None) -> None:
        """Package 1 that proves nothing, with `more` in its SyncHdr; measured."""
        self._session += 1
        self._msg_id = 1
        self.costs.append(self._post(_document(self._header(more, device_id), body)))

    def raw(self, body: bytes) -> None:
        """Octets as they are; measured."""
        self.costs.append(self._post(body))

    def results(self, name: str, items: str) -> str:
        """A Status and the Results for the Get of that list; nothing if the bridge has not asked for it."""
        get = self._gets.get(name)
        if get is None:
            return ""
        return (
            f"{self.status(name)}<Results><CmdID>3</CmdID><MsgRef>{self._msg_ref}</MsgRef>"
            f"<CmdRef>{get}</CmdRef>{items}</Results>"
        )

    def status(self, name: str, code: int = 200) -> str:
        """A Status for the Get of that list."""
        return (
            f"<Status><CmdID>2</CmdID><MsgRef>{self._msg_ref}</MsgRef><CmdRef>{self._gets[name]}</CmdRef>"
            f"<Cmd>Get</Cmd><Data>{code}</Data></Status>"
        )

    def _prove(self, body: str, *, final: bool) -> None:
        cred = self._cred()
        proof = f'<Cred><Meta><Type xmlns="{METINF}">{cred.meta.type}</Type></Meta><Data>{cred.data}</Data></Cred>'
        cost = self._post(_document(self._header(proof), body, final=final))
        first = cost.reply.partition(b"</Status>")[0]
        if b"<Data>401</Data>" in first or b"<Data>407</Data>" in first:
            raise RuntimeError(f"the bridge does not believe {self.device_id}")
        for nonce in _NONCE.findall(first):
            self._nonce = b64decode(nonce)
        self.costs.append(cost)

    def _cred(self) -> Cred:
        return make_cred(MD5, self._known.username, self._known.password, self._nonce)

    def _header(self, more: str = "", device_id: str | None = None) -> str:
        return (
            "<SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto>"
            f"<SessionID>{self._session}</SessionID><MsgID>{self._msg_id}</MsgID>"
            f"<Target><LocURI>{_ENDPOINT}</LocURI></Target>"
            f"<Source><LocURI>{device_id or self.device_id}</LocURI></Source>{more}</SyncHdr>"
        )


def _document(header: str, body: str, *, final: bool = True) -> bytes:
    end = "<Final/>" if final else ""
    return f'<SyncML xmlns="{SYNCML_1_2}">{header}<SyncBody>{body}{end}</SyncBody></SyncML>'.encode()


def guids(many: int) -> list[str]:
    """GUIDs that no attack of this process has used."""
    return [f"{next(_numbers):08x}-0bad-4000-8000-000000000000" for _ in range(many)]


def _struct_data(name: str, updates: list[str]) -> str:
    """The list as Windows answers it, with a RevisionNumber for each update."""
    items = [_item(f"{_UPDATE}/{name}", "node")]
    for guid in updates:
        node = f"{_UPDATE}/{name}/{guid}"
        items.append(_item(node, "node"))
        items.append(_item(f"{node}/RevisionNumber", "int", "200"))
    return "".join(items)


def _item(uri: str, form: str, data: str | None = None) -> str:
    value = "" if data is None else f"<Data>{data}</Data>"
    return (
        f"<Item><Source><LocURI>{uri}</LocURI></Source>"
        f'<Meta><Format xmlns="{METINF}">{form}</Format></Meta>{value}</Item>'
    )


def _fill(piece: str | Callable[[int], str], *, most: int = DEFAULT_LIMITS.elements) -> str:
    """As many pieces as a message can hold, by its size and its elements, and at most `most`."""
    make = piece if callable(piece) else lambda _number: piece
    first = make(0)
    items = first.count("<Item")
    if items:
        most = min(most, (DEFAULT_LIMITS.items - _BOUND) // items)
    elements = first.count("<") - first.count("</") - first.count("<!")
    most = min(most, (DEFAULT_LIMITS.elements - _BOUND) // max(1, elements))
    room = DEFAULT_LIMITS.bytes - _ENVELOPE
    pieces: list[str] = []
    for number in range(most):
        text = make(number)
        room -= len(text.encode())
        if room < 0:
            break
        pieces.append(text)
    return "".join(pieces)


def _commands(piece: str | Callable[[int], str]) -> str:
    return _fill(piece, most=DEFAULT_LIMITS.commands - 8)


# --- shapes of XML, in a message of a device that has proved itself -------------------------------------


def _in_replace(content: str) -> Callable[[Peer], None]:
    def attack(peer: Peer) -> None:
        peer.open()
        peer.send(f"<Replace><CmdID>2</CmdID>{content}</Replace>")

    return attack


def _in_data(content: str) -> Callable[[Peer], None]:
    return _in_replace(f"<Item><Data>{content}</Data></Item>")


def _in_body(content: str) -> Callable[[Peer], None]:
    def attack(peer: Peer) -> None:
        peer.open()
        peer.send(content)

    return attack


def _attributes(length: int) -> str:
    """As many attributes as one element may have, with names of that length."""
    return " ".join(f'{chr(ord("a") + n) * length}=""' for n in range(DEFAULT_LIMITS.attributes))


def _prefixes(many: int) -> str:
    """Declarations of that many long namespaces."""
    return " ".join(f'xmlns:p{n}="{chr(ord("a") + n) * 200}"' for n in range(many))


def _texts() -> str:
    """Four Items, each with as much text as one element may have, or the message has room for."""
    return _fill(f"<Item><Data>{'x&#10;' * 20_000}</Data></Item>")


_ELEMENTS_OF_16: Final = DEFAULT_LIMITS.elements // DEFAULT_LIMITS.attributes - _BOUND
"""Elements that may have as many attributes as one may have: of both together there is a limit."""
_DEEP: Final = DEFAULT_LIMITS.depth - 6
_SHAPES: Final[dict[str, Callable[[Peer], None]]] = {
    "empty Items": _in_replace(_fill("<Item/>")),
    "Items with an empty Meta": _in_replace(_fill("<Item><Meta/></Item>")),
    "Items with an empty Source": _in_replace(_fill("<Item><Source/></Item>")),
    "Items with every child": _in_replace(
        _fill("<Item><Target/><Source/><Meta><Size>1</Size></Meta><Data/></Item>")
    ),
    "unknown children of a command": _in_replace(_fill("<x/>")),
    "unknown children of Items": _in_replace(_fill("<Item><x/></Item>")),
    "markup as a value": _in_data(_fill("<b/>")),
    "markup and text as a value": _in_data(_fill("x<b/>")),
    "markup nested as deep as allowed": _in_data(_fill("<b>" * (_DEEP - 2) + "</b>" * (_DEEP - 2))),
    "Atomics nested as deep as allowed": _in_body(
        _commands("<Atomic>" * (_DEEP - 1) + "</Atomic>" * (_DEEP - 1))
    ),
    "an Atomic of Replaces, nested": _in_body(
        f"<Atomic><CmdID>2</CmdID>{_commands('<Sequence><CmdID>2</CmdID><Replace/><Replace/></Sequence>')}</Atomic>"
    ),
    "16 attributes on each element": _in_data(_fill(f"<b {_attributes(1)}/>", most=_ELEMENTS_OF_16)),
    "16 long attributes on each element": _in_data(_fill(f"<b {_attributes(200)}/>", most=_ELEMENTS_OF_16)),
    "attributes in long namespaces": _in_replace(
        f'<Item xmlns:p="{"u" * 200}">' + _fill('<b p:a="" p:b="" p:c="" p:d=""/>', most=4_900) + "</Item>"
    ),
    "a namespace on each element": _in_data(_fill(lambda n: f'<b xmlns="u{n}"/>')),
    "16 namespaces in scope": _in_replace(
        f"<Item {_prefixes(DEFAULT_LIMITS.namespaces - 2)}>{_fill('<p1:b/>')}</Item>"
    ),
    "long names": _in_data(_fill(f"<{'n' * 100}/>")),
    "long text, one reference after the other": _in_replace(_texts()),
    "text in pieces between comments": _in_data(_fill("x<!---->", most=100_000)),
    "text in pieces of CDATA": _in_data(_fill("<![CDATA[x]]>", most=100_000)),
    "entity references": _in_data("&lt;" * 100_000),
    "instructions": _in_body(_fill("<?x?>", most=100_000)),
}

# --- commands of a device that has proved itself --------------------------------------------------------

_ALERT: Final = (
    "<Alert><CmdID>{0}</CmdID><Data>1224</Data><Item>"
    f'<Meta><Type xmlns="{METINF}">com.example/none</Type></Meta><Data>{{0}}</Data></Item></Alert>'
)


def _opening(body: str) -> Callable[[Peer], None]:
    def attack(peer: Peer) -> None:
        peer.begin(body)

    return attack


def _alert_of_many_items(form: str) -> str:
    item = f"<Item>{form}<Data>x</Data></Item>"
    return f"<Alert><CmdID>2</CmdID><Data>1226</Data>{_fill(item)}</Alert>"


_COMMANDS: Final[dict[str, Callable[[Peer], None]]] = {
    "Alerts in package 1": _opening(_commands(lambda n: _ALERT.format(n + 2))),
    "an Alert of thousands of Items": _opening(_alert_of_many_items("")),
    "DevInfo of thousands of Items": _opening(
        "<Replace><CmdID>2</CmdID>"
        + _fill(lambda n: f"<Item><Source><LocURI>./DevInfo/{n}</LocURI></Source></Item>")
        + "</Replace>"
    ),
    "commands without a CmdID": _in_body(_commands("<Alert><Data>1</Data></Alert>")),
    "unknown commands with long names": _in_body(_commands(f"<{'n' * 200}><CmdID>2</CmdID></{'n' * 200}>")),
    "CmdIDs of 200 characters": _in_body(
        _commands(lambda n: f"<Get><CmdID>{f'{n:05}' * 40}</CmdID><Item/></Get>")
    ),
    "CmdIDs that grow when written": _in_body(
        _commands(f"<Get><CmdID><![CDATA[{'>' * 200}]]></CmdID><Item/></Get>")
    ),
    "Statuses of nothing asked": _in_body(
        _commands("<Status><CmdID>2</CmdID><MsgRef>8</MsgRef><CmdRef>8</CmdRef><Cmd>Get</Cmd></Status>")
    ),
    "Results of nothing asked": _in_body(
        _commands(
            "<Results><CmdID>2</CmdID><MsgRef>8</MsgRef><CmdRef>8</CmdRef>"
            "<Item><Source><LocURI>./x</LocURI></Source><Data>1</Data></Item></Results>"
        )
    ),
    "objects begun and never ended": _in_body(
        "<Alert><CmdID>2</CmdID><Data>1226</Data>"
        + _fill(
            lambda n: (
                f"<Item><Source><LocURI>./{n}</LocURI></Source><Meta><Size>9</Size></Meta><Data>x</Data><MoreData/></Item>"
            )
        )
        + "</Alert>"
    ),
    "an object in thousands of chunks": _in_body(
        "<Alert><CmdID>2</CmdID><Data>1226</Data><Item><Meta><Size>9000</Size></Meta><Data>x</Data><MoreData/></Item>"
        + _fill("<Item><Data>x</Data><MoreData/></Item>")
        + "</Alert>"
    ),
}


# --- answers to the Gets on the Update tree -------------------------------------------------------------


def _answering(make: Callable[[Peer], str]) -> Callable[[Peer], None]:
    def attack(peer: Peer) -> None:
        peer.open()
        peer.send(make(peer))

    return attack


def _many_statuses(peer: Peer) -> str:
    return _commands(peer.status("InstalledUpdates", 404))


def _many_results(peer: Peer) -> str:
    one = peer.results("InstalledUpdates", "{}").partition("</Status>")[2]
    fresh = guids(DEFAULT_LIMITS.commands)
    uri = f"<Item><Source><LocURI>{_UPDATE}/InstalledUpdates/{{}}</LocURI></Source></Item>"
    return peer.status("InstalledUpdates") + _commands(lambda n: one.format(uri.format(fresh[n])))


def _fresh_updates(peer: Peer) -> str:
    """A row for each update: an Item that names it and says nothing of it."""
    fresh = guids(DEFAULT_LIMITS.elements // 3)
    uri = f"<Item><Source><LocURI>{_UPDATE}/InstallableUpdates/{{}}</LocURI></Source></Item>"
    return peer.results("InstallableUpdates", _fill(lambda n: uri.format(fresh[n])))


def _fresh_names(peer: Peer) -> str:
    """A row for each update, in the form that needs the fewest octets: names in a Data, in all five lists."""
    each = (DEFAULT_LIMITS.bytes - 2 * _ENVELOPE) // 37 // len(_LISTS)
    return "".join(
        peer.results(
            name,
            f"<Item><Source><LocURI>{_UPDATE}/{name}</LocURI></Source><Data>{'/'.join(guids(each))}</Data></Item>",
        )
        for name in _LISTS
    )


def _one_leaf_of(name: str, leaf: str, value: str) -> Callable[[Peer], str]:
    def make(peer: Peer) -> str:
        fresh = guids(DEFAULT_LIMITS.elements // 4)
        item = (
            f"<Item><Source><LocURI>{_UPDATE}/{name}/{{}}/{leaf}</LocURI></Source><Data>{value}</Data></Item>"
        )
        return peer.results(name, _fill(lambda n: item.format(fresh[n])))

    return make


def _addresses(uri: str | Callable[[int], str]) -> Callable[[Peer], str]:
    make_uri = uri if callable(uri) else lambda _number: uri
    return lambda peer: peer.results(
        "InstalledUpdates", _fill(lambda n: f"<Item><Source><LocURI>{make_uri(n)}</LocURI></Source></Item>")
    )


def _names(text: str) -> Callable[[Peer], str]:
    """Two values as long as one may be."""
    item = f"<Item><Source><LocURI>{_UPDATE}/InstalledUpdates</LocURI></Source><Data>{text[: DEFAULT_LIMITS.text - 4_096]}</Data></Item>"
    return lambda peer: peer.results("InstalledUpdates", item * 2)


def _thousand_installed(peer: Peer) -> str:
    return answer_lists(peer, "InstalledUpdates", guids(1_000))


def answer_lists(peer: Peer, name: str, updates: list[str]) -> str:
    """The answer to all lists that were asked for: that one with these updates, the others empty."""
    return "".join(peer.results(each, _struct_data(each, updates if each == name else [])) for each in _LISTS)


def _changed_wholly(peer: Peer) -> None:
    """Every row goes, another comes, and its end is asked for."""
    for _ in range(3):
        peer.open()
        peer.send(answer_lists(peer, "InstallableUpdates", guids(1_000)))


def _changed_state(peer: Peer) -> None:
    """Every update moves from one list to another: each a change on the timeline."""
    updates = guids(1_000)
    for turn in range(4):
        peer.open()
        peer.send(answer_lists(peer, _LISTS[turn % 2], updates))


def _same_again(peer: Peer) -> None:
    """Nothing is new the last time."""
    updates = guids(1_000)
    for _ in range(4):
        peer.open()
        peer.send(answer_lists(peer, "InstallableUpdates", updates))


_SMALLEST: Final = "<Item><Source><LocURI>./a</LocURI></Source></Item>"


def _over_many_messages(peer: Peer) -> None:
    """Eight thousand Items of one list in sixteen messages of one package."""
    peer.open()
    quiet = "".join(
        peer.results(name, _struct_data(name, [])) for name in _LISTS if name != "InstalledUpdates"
    )
    for _ in range(15):
        peer.send(peer.results("InstalledUpdates", _struct_data("InstalledUpdates", guids(250))), final=False)
    peer.send(quiet + peer.results("InstalledUpdates", _struct_data("InstalledUpdates", guids(250))))


def _smallest_over_many_messages(peer: Peer) -> None:
    """As many Items as a package may have: the shortest address, and nothing else."""
    peer.open()
    for _ in range(5):
        peer.send(peer.results("InstalledUpdates", _fill(_SMALLEST)), final=False)
    peer.send("")


def _package_without_end(peer: Peer) -> None:
    """Messages as large as they may be, none of them the last, until the bridge has enough."""
    peer.open()
    for _ in range(24):
        peer.send(_fresh_updates(peer).replace("InstallableUpdates/", "InstalledUpdates/"), final=False)
    peer.send("")


def _object_over_many_messages(peer: Peer) -> None:
    """The largest value that is taken, in chunks as large as they may be, one in each message."""
    text = "x" * (DEFAULT_LIMITS.text - _ENVELOPE)
    chunks = MAX_OBJECT // len(text)
    peer.open()
    source = f"<Source><LocURI>{_UPDATE}/InstalledUpdates</LocURI></Source>"
    for number in range(chunks):
        meta = f"<Meta><Size>{chunks * len(text)}</Size></Meta>" if not number else ""
        more = "<MoreData/>" if number < chunks - 1 else ""
        item = f"<Item>{source}{meta}<Data>{text}</Data>{more}</Item>"
        peer.send(peer.results("InstalledUpdates", item), final=not more)


_ANSWERS: Final[dict[str, Callable[[Peer], None]]] = {
    "all Statuses of one Get": _answering(_many_statuses),
    "all Results of one Get": _answering(_many_results),
    "1,000 installed updates, as Windows writes them": _answering(_thousand_installed),
    "thousands of updates never seen": _answering(_fresh_updates),
    "thousands of updates never seen, as names": _answering(_fresh_names),
    "thousands of values that are no numbers": _answering(
        _one_leaf_of("InstallableUpdates", "Type", "x" * 50)
    ),
    "thousands of HRESULTs": _answering(_one_leaf_of("FailedUpdates", "HResult", "-2145124318")),
    "thousands of leaves below leaves": _answering(_one_leaf_of("FailedUpdates", "a/b/c", "1")),
    "LocURIs of nothing but escapes": _answering(_addresses("./" + "%41" * 80)),
    "LocURIs that are escaped twice": _answering(_addresses(f"{_UPDATE}/InstalledUpdates/" + "%2541" * 30)),
    "LocURIs of hundreds of segments": _answering(_addresses(f"{_UPDATE}/InstalledUpdates" + "/a" * 500)),
    "a LocURI of 100,000 segments": _answering(_addresses(f"{_UPDATE}/InstalledUpdates" + "/a" * 100_000)),
    "LocURIs of percent signs": _answering(_addresses(f"{_UPDATE}/InstalledUpdates/" + "%" * 200)),
    "LocURIs in other scripts": _answering(_addresses(f"{_UPDATE}/InstalledUpdates/" + "猫" * 60)),
    "addresses of nothing asked": _answering(_addresses(lambda n: f"./Vendor/MSFT/Policy/{n}")),
    "LocURIs that are nearly GUIDs": _answering(
        _addresses(lambda n: f"{_UPDATE}/InstalledUpdates/%7b {n:08x}-0000-4000-8000-00000000000g %7d")
    ),
    "names of one letter": _answering(_names("a/" * 130_000)),
    "names of nothing but blanks": _answering(_names(" " * 260_000 + "/")),
    "names of braces and blanks": _answering(_names("{" + " " * 260_000)),
    "names of escapes": _answering(_names("%7b%41%42%43%7d/" * 20_000)),
    "slashes": _answering(_names("/" * 260_000)),
    "a list changed wholly each time": _changed_wholly,
    "each update in another list each time": _changed_state,
    "the same 1,000 updates again": _same_again,
    "8,000 Items over sixteen messages": _over_many_messages,
    "the smallest Items over many messages": _smallest_over_many_messages,
    "a package that does not end": _package_without_end,
    "the largest object": _object_over_many_messages,
}

# --- messages that prove nothing ------------------------------------------------------------------------

_WRONG: Final = (
    f'<Cred><Meta><Type xmlns="{METINF}">{MD5}</Type></Meta><Data>d3JvbmcgY3JlZGVudGlhbHM=</Data></Cred>'
)
_FLOODS: Final[dict[str, str]] = {
    "Alerts": _commands(lambda n: _ALERT.format(n + 2)),
    "unknown commands with long names": _commands(f"<{'n' * 200}><CmdID>2</CmdID></{'n' * 200}>"),
    "empty Items": f"<Replace><CmdID>2</CmdID>{_fill('<Item/>')}</Replace>",
    "markup": f"<Replace><CmdID>2</CmdID><Item><Data>{_fill('<b/>')}</Data></Item></Replace>",
    "text": f"<Replace><CmdID>2</CmdID>{_texts()}</Replace>",
}


def _claim(body: str, more: str = "", device_id: str | None = None) -> Callable[[Peer], None]:
    def attack(peer: Peer) -> None:
        peer.claim(body, more, device_id)

    return attack


_CLAIMS: Final[dict[str, Callable[[Peer], None]]] = {
    **{f"unknown device: {name}": _claim(body, "", "NOBODY") for name, body in _FLOODS.items()},
    **{f"no credentials: {name}": _claim(body) for name, body in _FLOODS.items()},
    **{f"wrong credentials: {name}": _claim(body, _WRONG) for name, body in _FLOODS.items()},
    "a device id of 200,000 characters": _claim("", "", "D" * 200_000),
    "a Cred of 200,000 characters": _claim("", f"<Cred><Data>{'QUFB' * 50_000}</Data></Cred>"),
}


def _raw(body: bytes) -> Callable[[Peer], None]:
    def attack(peer: Peer) -> None:
        peer.raw(body)

    return attack


def _pad(start: str) -> bytes:
    return (start * (DEFAULT_LIMITS.bytes // len(start))).encode()


def _prefixed(many: int) -> str:
    """That many attributes in the namespace p."""
    return " ".join(f'p:a{number:x}=""' for number in range(many))


_IN_ONE_TAG: Final = DEFAULT_LIMITS.tag // 11
"""As many of them as fit into one tag."""
_DOCTYPE: Final = '<!DOCTYPE x [<!ENTITY a0 "ha">{}]><x>&a9;</x>'
_LAUGHS: Final = "".join('<!ENTITY a{} "{}">'.format(n, f"&a{n - 1};" * 10) for n in range(1, 10))
_NO_MESSAGES: Final[dict[str, Callable[[Peer], None]]] = {
    "billion laughs": _raw(_DOCTYPE.format(_LAUGHS).encode()),
    "100,000 open elements": _raw(_pad("<a>")),
    "one element too many": _raw(b"<a>" + _pad("<b/>")[:-8]),
    "an element with 30,000 attributes": _raw(
        b"<a " + " ".join(f'b{n}=""' for n in range(30_000)).encode() + b"/>"
    ),
    "an element with 30,000 attributes in a long namespace": _raw(
        f'<a xmlns:p="{"u" * 100_000}"><b {_prefixed(30_000)}/></a>'.encode()
    ),
    "a tag and a namespace as long as they may be": _raw(
        f'<a xmlns:p="{"u" * DEFAULT_LIMITS.name}"><b {_prefixed(_IN_ONE_TAG)}/></a>'.encode()
    ),
    "half a tag of namespace, half of attributes": _raw(
        f'<b xmlns:p="{"u" * (DEFAULT_LIMITS.tag // 2)}" {_prefixed(_IN_ONE_TAG // 2 - 8)}/>'.encode()
    ),
    "tags as long as they may be": _raw(b"<a>" + _pad(f'<b c="{"x" * (DEFAULT_LIMITS.tag - 10)}"/>')[:-8]),
    "an element with 20,000 namespaces": _raw(
        b"<a " + " ".join(f'xmlns:b{n}="u"' for n in range(20_000)).encode() + b"/>"
    ),
    "a name of 500,000 characters": _raw(b"<" + _pad("n")[:-8] + b"/>"),
    "an attribute that does not end": _raw(b'<a b="' + _pad("n")[:-8]),
    "a comment that does not end": _raw(b"<!-- " + _pad("-")[:-8]),
    "nothing but white space": _raw(_pad(" ")),
    "text with a broken end": _raw(_pad("é")[:-3]),
}


@dataclass(frozen=True, slots=True)
class Attack:
    """One row of the catalogue."""

    kind: str
    """`shape`, `command`, `answer`, `claim` or `no message`."""
    name: str
    act: Callable[[Peer], None]


def _rows() -> Iterator[Attack]:
    groups = {
        "shape": _SHAPES,
        "command": _COMMANDS,
        "answer": _ANSWERS,
        "claim": _CLAIMS,
        "no message": _NO_MESSAGES,
    }
    for kind, attacks in groups.items():
        for name, act in attacks.items():
            yield Attack(kind, name, act)


ATTACKS: Final = tuple(_rows())
"""All of them, in the order of the table."""
