"""Trees to a device description: the text of a DM DDF 1.2 document with Microsoft's extensions.

The order of elements is that of OMA-TS-DM_TND 1.2.1 chapter 9 and of Microsoft's schema of DDF v2, which also
lets one document have several roots. Not written, because the trees do not hold it: the versions of CSPs, the
editions of Windows, group policies, restarts, and words for single values (they are in the description).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from csp.errors import InvalidValue
from csp.releases import os_builds
from csp.tree import GUID, Access, children_of
from csp.values import (
    DATE_PATTERN,
    MOMENT_PATTERN,
    Allowed,
    AnyText,
    Choice,
    Date,
    Flags,
    Moment,
    Number,
    Range,
    Text,
    Truth,
    is_xml_text,
)
from syncml.xmltree import escape, escape_attribute

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from csp.tree import Need, Node

__all__ = ["write_ddf"]

_MICROSOFT: Final = "http://schemas.microsoft.com/MobileDevice/DM"
_PROLOGUE: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<!DOCTYPE MgmtTree PUBLIC "-//OMA//DTD-DM-DDF 1.2//EN"',
    '  "http://www.openmobilealliance.org/tech/DTD/DM_DDF-V1_2.dtd"',
    '  [<?oma-dm-ddf-ver supported-versions="1.2"?>]>',
    f'<MgmtTree xmlns:MSFT="{_MICROSOFT}">',
    "  <VerDTD>1.2</VerDTD>",
    # Required by Microsoft's schema; what it would hold is an argument of their DiagnosticLog CSP.
    "  <MSFT:Diagnostics></MSFT:Diagnostics>",
)
_GUID_PATTERN: Final = r"\{?[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\}?"


def write_ddf(tree: Sequence[Node]) -> str:
    """The description of these rows: a root for each row whose parent is not among them, all in their order.

    Names in braces become nodes without a name and are the title instead. A row says since when it is there
    only if that differs from its parent, as Microsoft's files do. The same rows give the same text. Raises
    InvalidValue for characters that XML cannot carry, KeyError for a `since` that names no Windows version.
    """
    paths = {node.path for node in tree}
    lines = [*_PROLOGUE]
    for node in tree:
        if node.parent not in paths:
            lines += (f"  {line}" for line in _node(node, tree, None))
    text = "\n".join([*lines, "</MgmtTree>", ""])
    if not is_xml_text(text):
        raise InvalidValue("The description has a character that XML cannot carry.")
    return text


def _node(node: Node, tree: Sequence[Node], parent: Node | None) -> Iterator[str]:
    yield "<Node>"
    yield f"  <NodeName>{'' if _is_wildcard(node) else escape(node.name)}</NodeName>"
    if parent is None:
        yield f"  <Path>{escape(node.parent)}</Path>"
    yield "  <DFProperties>"
    yield from (f"    {line}" for line in _properties(node, parent))
    yield "  </DFProperties>"
    for child in children_of(node, tree):
        yield from (f"  {line}" for line in _node(child, tree, node))
    yield "</Node>"


def _is_wildcard(node: Node) -> bool:
    return node.name.startswith("{")


def _properties(node: Node, parent: Node | None) -> Iterator[str]:
    yield f"<AccessType>{''.join(f'<{flag.name.title()}/>' for flag in node.access if flag.name)}</AccessType>"
    if node.default is not None:
        yield f"<DefaultValue>{escape(node.default)}</DefaultValue>"
    yield f"<Description>{escape(node.description)}</Description>"
    yield f"<DFFormat><{node.format}/></DFFormat>"
    yield f"<Occurrence><{node.occurrence}/></Occurrence>"
    yield f"<Scope><{node.scope}/></Scope>"
    if _is_wildcard(node):
        yield f"<DFTitle>{escape(node.name.strip('{}'))}</DFTitle>"
    yield f"<DFType>{_type(node)}</DFType>"
    if node.ignores_case:
        yield "<CaseSense><CIS/></CaseSense>"
    if parent is None or parent.since != node.since:
        builds = escape(os_builds(node.since))
        yield f"<MSFT:Applicability><MSFT:OsBuildVersion>{builds}</MSFT:OsBuildVersion></MSFT:Applicability>"
    if _is_wildcard(node):
        yield f"<MSFT:DynamicNodeNaming>{_naming(node)}</MSFT:DynamicNodeNaming>"
    if node.allowed is not None:
        yield _allowed("AllowedValues", node.allowed)
    if node.needs:
        groups = "".join(_dependency(node, need) for need in node.needs)
        yield f"<MSFT:DependencyBehavior>{groups}</MSFT:DependencyBehavior>"
    if node.merge is not None:
        yield f"<MSFT:ConflictResolution>{node.merge}</MSFT:ConflictResolution>"


def _type(node: Node) -> str:
    if node.mime is not None:
        return f"<MIME>{escape(node.mime)}</MIME>"
    return "<DDFName></DDFName>" if node.format == "node" else "<MIME>text/plain</MIME>"


def _naming(node: Node) -> str:
    """Who names the node: the server if it may add it, and a GUID if that is what stands there."""
    if Access.ADD not in node.access:
        return "<MSFT:ClientInventory/>"
    if node.name == GUID:
        return f"<MSFT:UniqueName>{_GUID_PATTERN}</MSFT:UniqueName>"
    return "<MSFT:ServerGeneratedUniqueIdentifier/>"


def _allowed(name: str, allowed: Allowed) -> str:
    kind, content = _rule(allowed)
    return f'<MSFT:{name} ValueType="{kind}">{content}</MSFT:{name}>'


def _rule(allowed: Allowed) -> tuple[str, str]:  # noqa: PLR0911 - one for each kind
    """The ValueType and the elements of a rule; `None` stands for what nobody limits."""
    match allowed:
        case Choice(values):
            return "ENUM", _enum(map(str, values))
        case Flags(bits):
            return "Flag", _enum(f"0x{bit:X}" for bit in (0, *bits))
        case Truth():
            return "ENUM", _enum(("false", "true"))
        case Range(low, high):
            return "Range", _value(f"[{low}-{high}]")
        case Text(pattern):
            return "RegEx", _value(pattern)
        case Date():
            return "RegEx", _value(DATE_PATTERN)
        case Moment():
            return "RegEx", _value(MOMENT_PATTERN)
        case Number() | AnyText(None):
            return "None", ""
        case AnyText(delimiter):
            return "None", f'<MSFT:List Delimiter="{escape_attribute(str(delimiter))}"/>'
    assert_never(allowed)


def _enum(values: Iterable[str]) -> str:
    return "".join(f"<MSFT:Enum>{_value(value)}</MSFT:Enum>" for value in values)


def _value(text: str) -> str:
    return f"<MSFT:Value>{escape(text)}</MSFT:Value>"


def _dependency(node: Node, need: Need) -> str:
    """One group for each need, for all of them count; names in braces stand in brackets in a DependencyUri."""
    other = f"{node.parent.removeprefix('./')}/{need.name}".replace("{", "[").replace("}", "]")
    kind, verb = ("Not", "Excludes") if need.absent else ("DependsOn", "Needs")
    values = _allowed("DependencyAllowedValue", Choice(need.values) if need.values else AnyText())
    return (
        f'<MSFT:DependencyGroup FriendlyId="{escape_attribute(f"{node.name}{verb}{need.name}")}">'
        f'<MSFT:Dependency Type="{kind}"><MSFT:DependencyUri>{escape(other)}</MSFT:DependencyUri>'
        f"{values}</MSFT:Dependency></MSFT:DependencyGroup>"
    )
