"""Long answers, read while they arrive: only the element under way is in memory, never the whole body.

A revision list has 25,000 ids and more in one answer, and a single document has up to 47 MB. `StreamReader`
builds the same nodes as `read_soap_body` does, under the same limits, but hands each element of one named place
to a function as soon as it is complete, and forgets it. What is left at the end is the frame around them, or a
fault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from xml.parsers import expat

from mdm.upstream.errors import InvalidAnswer
from mdm.upstream.xml import PREFIXES, REPEATABLE, GuardedExpat, Node, XmlLimits, child

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["BODY", "StreamReader"]

BODY: Final = "soap:Envelope/soap:Body"
"""Where the places of a caller begin."""

_NAMES: Final = 200
"""Names remembered; the longest answer has 20 different ones."""

T = TypeVar("T")


class StreamReader(Generic[T]):
    """Reads one answer piece by piece: `feed` its bytes, then `close` for what `finish` makes of it."""

    def __init__(
        self,
        take: Mapping[str, Callable[[Node], object]],
        finish: Callable[[dict[str, Any]], T],
        limits: XmlLimits,
    ) -> None:
        """`take`: path from the envelope down, such as `soap:Envelope/soap:Body/sd:...` -> gets each element there.

        `finish` gets the children of soap:Body without what was taken. Both may raise UpstreamError.
        """
        self._take = take
        self._finish = finish
        self._names: dict[str, str] = {}
        self._paths = [""]
        self._values: list[dict[str, Any] | None] = [{}]
        self._text: list[str] = []
        self._parser = GuardedExpat(limits).ParserCreate("utf-8", " ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text.append

    def feed(self, data: bytes) -> None:
        """Read the next bytes; raises InvalidAnswer for what is no XML within the limits."""
        self._parse(data, final=False)

    def close(self) -> T:
        """Return what the answer comes to; raises InvalidAnswer if it is no whole SOAP envelope."""
        self._parse(b"", final=True)
        body = child(child(self._values[0], "soap:Envelope"), "soap:Body")
        if not isinstance(body, dict):
            raise InvalidAnswer("the answer is not a SOAP envelope with a body")
        return self._finish(body)

    def _parse(self, data: bytes, *, final: bool) -> None:
        try:
            self._parser.Parse(data, final)
        except (expat.ExpatError, ValueError) as problem:
            raise InvalidAnswer(f"the answer cannot be read as XML: {problem}") from problem

    def _start(self, name: str, _attributes: object) -> None:
        short = self._names.get(name) or self._short(name)
        above = self._paths[-1]
        self._paths.append(f"{above}/{short}" if above else short)
        self._values.append(None)
        self._text.clear()

    def _end(self, _name: str) -> None:
        path = self._paths.pop()
        members = self._values.pop()
        # text between children means nothing here, and an element without anything is nothing
        node: Node = members if members is not None else "".join(self._text) or None
        self._text.clear()
        taker = self._take.get(path)
        if taker is not None:
            taker(node)
            node = None
        parent = self._values[-1]
        if parent is None:
            parent = self._values[-1] = {}
        if taker is None:
            _put(parent, path.rpartition("/")[2], node)

    def _short(self, name: str) -> str:
        """`prefix:name` with the bridge's own prefix for the namespace, as in `read_soap_body`."""
        namespace, separator, local = name.rpartition(" ")
        short = f"{PREFIXES[namespace]}:{local}" if separator else local
        if len(self._names) < _NAMES:
            self._names[name] = short
        return short


def _put(parent: dict[str, Any], name: str, node: Node) -> None:
    """Add a child; a repeatable one to a list, and several of another name as well, which `child` refuses."""
    if name not in parent:
        parent[name] = [node] if name in REPEATABLE else node
    elif isinstance(parent[name], list):
        parent[name].append(node)
    else:
        parent[name] = [parent[name], node]
