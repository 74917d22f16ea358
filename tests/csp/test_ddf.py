"""A tree becomes a description that any XML reader takes, and that says of each node what its row says."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp.ddf import write_ddf
from csp.errors import InvalidValue
from csp.releases import RELEASES, os_builds
from csp.tree import Access, Merge, Need, Node, Occurrence, Scope
from csp.trees import TREES
from csp.values import (
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

MSFT = "{http://schemas.microsoft.com/MobileDevice/DM}"
GET = Access.GET
ROOT = Node("./X/Root", "node", GET, Occurrence.ONE, Scope.PERMANENT, "1607", None, "A root.")
LEAF = Node("./X/Root/Leaf", "int", GET, Occurrence.ONE, Scope.PERMANENT, "1607", None, "A leaf.")


def parsed(*nodes: Node) -> ET.Element:
    """The document of these rows."""
    return ET.XML(write_ddf(nodes))


def properties(*nodes: Node) -> ET.Element:
    """The properties of the first node in the document of these rows."""
    found = parsed(*nodes).find("Node/DFProperties")
    assert found is not None
    return found


def test_a_document_is_written_like_this() -> None:
    """Every element has its place, a child lies in its parent, and only the root has a path."""
    leaf = replace(
        LEAF,
        access=Access.ADD | Access.DELETE | Access.EXEC | GET | Access.REPLACE,
        occurrence=Occurrence.ZERO_OR_ONE,
        scope=Scope.DYNAMIC,
        since="1809+1217 / W11 21H2",
        default="<1>",
        description="A & B.",
        allowed=Range(0, 7),
        merge=Merge.HIGHEST,
        needs=(Need("Other"),),
        ignores_case=True,
    )
    assert write_ddf((replace(ROOT, mime="com.example/1.0"), leaf)) == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<!DOCTYPE MgmtTree PUBLIC "-//OMA//DTD-DM-DDF 1.2//EN"\n'
        '  "http://www.openmobilealliance.org/tech/DTD/DM_DDF-V1_2.dtd"\n'
        '  [<?oma-dm-ddf-ver supported-versions="1.2"?>]>\n'
        '<MgmtTree xmlns:MSFT="http://schemas.microsoft.com/MobileDevice/DM">\n'
        "  <VerDTD>1.2</VerDTD>\n"
        "  <MSFT:Diagnostics></MSFT:Diagnostics>\n"
        "  <Node>\n"
        "    <NodeName>Root</NodeName>\n"
        "    <Path>./X</Path>\n"
        "    <DFProperties>\n"
        "      <AccessType><Get/></AccessType>\n"
        "      <Description>A root.</Description>\n"
        "      <DFFormat><node/></DFFormat>\n"
        "      <Occurrence><One/></Occurrence>\n"
        "      <Scope><Permanent/></Scope>\n"
        "      <DFType><MIME>com.example/1.0</MIME></DFType>\n"
        "      <MSFT:Applicability><MSFT:OsBuildVersion>10.0.14393</MSFT:OsBuildVersion></MSFT:Applicability>\n"
        "    </DFProperties>\n"
        "    <Node>\n"
        "      <NodeName>Leaf</NodeName>\n"
        "      <DFProperties>\n"
        "        <AccessType><Add/><Delete/><Exec/><Get/><Replace/></AccessType>\n"
        "        <DefaultValue>&lt;1&gt;</DefaultValue>\n"
        "        <Description>A &amp; B.</Description>\n"
        "        <DFFormat><int/></DFFormat>\n"
        "        <Occurrence><ZeroOrOne/></Occurrence>\n"
        "        <Scope><Dynamic/></Scope>\n"
        "        <DFType><MIME>text/plain</MIME></DFType>\n"
        "        <CaseSense><CIS/></CaseSense>\n"
        "        <MSFT:Applicability><MSFT:OsBuildVersion>10.0.17763.1217, 10.0.22000</MSFT:OsBuildVersion>"
        "</MSFT:Applicability>\n"
        '        <MSFT:AllowedValues ValueType="Range"><MSFT:Value>[0-7]</MSFT:Value></MSFT:AllowedValues>\n'
        '        <MSFT:DependencyBehavior><MSFT:DependencyGroup FriendlyId="LeafNeedsOther">'
        '<MSFT:Dependency Type="DependsOn"><MSFT:DependencyUri>X/Root/Other</MSFT:DependencyUri>'
        '<MSFT:DependencyAllowedValue ValueType="None"></MSFT:DependencyAllowedValue></MSFT:Dependency>'
        "</MSFT:DependencyGroup></MSFT:DependencyBehavior>\n"
        "        <MSFT:ConflictResolution>HighestValueMostSecure</MSFT:ConflictResolution>\n"
        "      </DFProperties>\n"
        "    </Node>\n"
        "  </Node>\n"
        "</MgmtTree>\n"
    )


@pytest.mark.parametrize(
    ("allowed", "kind", "values"),
    [
        (Choice((2, 4)), "ENUM", ["2", "4"]),
        (Flags((1, 2, 16)), "Flag", ["0x0", "0x1", "0x2", "0x10"]),
        (Truth(), "ENUM", ["false", "true"]),
        (Range(1, 22), "Range", ["[1-22]"]),
        (Text("<a>|b", "a or b"), "RegEx", ["<a>|b"]),
        (Date(), "RegEx", ["[0-9]{4}-[0-9]{2}-[0-9]{2}"]),
        (Number(), "None", []),
        (AnyText(), "None", []),
    ],
)
def test_rules_become_allowed_values(allowed: Allowed, kind: str, values: list[str]) -> None:
    """Each kind of rule has its ValueType; enumerations have one element for each value."""
    element = properties(replace(LEAF, allowed=allowed)).find(f"{MSFT}AllowedValues")
    assert element is not None
    assert element.get("ValueType") == kind
    assert [value.text for value in element.iter(f"{MSFT}Value")] == values
    assert len(element.findall(f"{MSFT}Enum")) == (len(values) if kind in {"ENUM", "Flag"} else 0)


def test_a_moment_is_a_regular_expression() -> None:
    """It says in a form for machines what Microsoft's file says in words."""
    element = properties(replace(LEAF, allowed=Moment())).find(f"{MSFT}AllowedValues")
    assert element is not None
    assert element.get("ValueType") == "RegEx"
    assert "T([01][0-9]|2[0-3])" in str(element.findtext(f"{MSFT}Value"))


def test_a_list_names_its_delimiter() -> None:
    """Also one that must be escaped."""
    element = properties(replace(LEAF, allowed=AnyText('"&'))).find(f"{MSFT}AllowedValues/{MSFT}List")
    assert element is not None
    assert element.get("Delimiter") == '"&'


@pytest.mark.parametrize(
    ("need", "kind", "friendly", "value_type", "values"),
    [
        (Need("B"), "DependsOn", "LeafNeedsB", "None", []),
        (Need("B", (3, 4)), "DependsOn", "LeafNeedsB", "ENUM", ["3", "4"]),
        (Need("B", absent=True), "Not", "LeafExcludesB", "None", []),
    ],
)
def test_needs_become_dependencies(
    need: Need, kind: str, friendly: str, value_type: str, values: list[str]
) -> None:
    """One group for each, which names the other node by its address, wildcards in brackets."""
    node = replace(LEAF, path="./Device/Vendor/Y/{Id}/Leaf", needs=(need, Need("C")))
    groups = properties(node).findall(f"{MSFT}DependencyBehavior/{MSFT}DependencyGroup")
    assert [group.get("FriendlyId") for group in groups] == [friendly, "LeafNeedsC"]
    dependency = groups[0].find(f"{MSFT}Dependency")
    assert dependency is not None
    assert dependency.get("Type") == kind
    assert dependency.findtext(f"{MSFT}DependencyUri") == "Device/Vendor/Y/[Id]/B"
    allowed = dependency.find(f"{MSFT}DependencyAllowedValue")
    assert allowed is not None
    assert allowed.get("ValueType") == value_type
    assert [value.text for value in allowed.iter(f"{MSFT}Value")] == values


@pytest.mark.parametrize(
    ("name", "access", "naming"),
    [
        ("{guid}", GET, "ClientInventory"),
        ("{guid}", GET | Access.ADD, "UniqueName"),
        ("{ProviderID}", GET | Access.ADD, "ServerGeneratedUniqueIdentifier"),
    ],
)
def test_wildcards_have_a_title_and_a_rule_for_names(name: str, access: Access, naming: str) -> None:
    """The device names what a server cannot add; the title is the word in braces."""
    document = parsed(replace(ROOT, path=f"./X/{name}", access=access))
    assert document.findtext("Node/NodeName") == ""
    assert document.findtext("Node/Path") == "./X"
    assert document.findtext("Node/DFProperties/DFTitle") == name.strip("{}")
    (element,) = document.findall(f"Node/DFProperties/{MSFT}DynamicNodeNaming/*")
    assert element.tag == f"{MSFT}{naming}"


def test_since_is_said_where_it_changes() -> None:
    """A child of the same Windows version inherits it, as Microsoft's schema says."""
    older, newer = LEAF, replace(LEAF, path="./X/Root/Newer", since="1809")
    document = parsed(ROOT, older, newer)
    builds = [
        node.findtext(f"DFProperties/{MSFT}Applicability/{MSFT}OsBuildVersion")
        for node in document.iter("Node")
    ]
    assert builds == ["10.0.14393", None, "10.0.17763"]


def test_nothing_more_than_the_row_says() -> None:
    """What a row has not is no element; an interior node without a type has the empty DDFName."""
    assert [child.tag for child in properties(ROOT)] == [
        "AccessType",
        "Description",
        "DFFormat",
        "Occurrence",
        "Scope",
        "DFType",
        f"{MSFT}Applicability",
    ]
    assert [child.tag for child in properties(ROOT).findall("DFType/*")] == ["DDFName"]


def test_an_empty_default_is_one() -> None:
    """Unlike none."""
    assert properties(replace(LEAF, default="")).find("DefaultValue") is not None


def test_several_roots_keep_their_order() -> None:
    """A row whose parent is not among the rows is a root; its place among the rows says where it stands."""
    other = replace(ROOT, path="./A/Other")
    document = parsed(ROOT, other, LEAF)
    assert [root.findtext("NodeName") for root in document.findall("Node")] == ["Root", "Other"]
    assert document.findtext("Node/Node/NodeName") == "Leaf"


def test_what_xml_cannot_carry_is_refused() -> None:
    """Rather than written for nobody to read."""
    with pytest.raises(InvalidValue) as caught:
        write_ddf([replace(LEAF, description="\x00.")])
    assert caught.value.detail == "The description has a character that XML cannot carry."


SCHEMA = [
    "AccessType",
    "DefaultValue",
    "Description",
    "DFFormat",
    "Occurrence",
    "Scope",
    "DFTitle",
    "DFType",
    "CaseSense",
    f"{MSFT}Applicability",
    f"{MSFT}DynamicNodeNaming",
    f"{MSFT}AllowedValues",
    f"{MSFT}DependencyBehavior",
    f"{MSFT}ConflictResolution",
]
"""The order of properties in Microsoft's schema of DDF v2."""


@pytest.mark.parametrize("name", TREES)
def test_every_tree_is_written_in_the_order_of_the_schema(name: str) -> None:
    """Elements stand at most once and where the schema has them; access types are in alphabetical order."""
    document = parsed(*TREES[name])
    assert [child.tag for child in document][:2] == ["VerDTD", f"{MSFT}Diagnostics"]
    assert len(list(document.iter("Node"))) == len(TREES[name])
    for element in document.iter("DFProperties"):
        found = [child.tag for child in element]
        assert found == [tag for tag in SCHEMA if tag in found]
        access = [child.tag for child in element.findall("AccessType/*")]
        assert access == sorted(access)
    for element in document.iter("Node"):
        tags = [child.tag for child in element if child.tag != "Node"]
        assert tags in (["NodeName", "DFProperties"], ["NodeName", "Path", "DFProperties"])


def test_the_same_rows_give_the_same_text() -> None:
    """A description can be compared with the one of another day."""
    assert write_ddf(TREES["dmclient"]) == write_ddf(list(TREES["dmclient"]))


texts = st.text().filter(is_xml_text)
names = st.text(st.characters(exclude_characters="/{}", exclude_categories=["Cc", "Cs", "Cn"]), min_size=1)
rules = st.one_of(
    st.none(),
    st.just(Number()),
    st.builds(Range, st.integers(0, 9), st.integers(9, 99)),
    st.builds(Choice, st.lists(st.integers(0, 99), min_size=1).map(tuple)),
    st.builds(Text, texts, st.just("like that")),
)


@st.composite
def trees(draw: st.DrawFn) -> list[Node]:
    """Rows in which each but the first lies below one before it."""
    nodes: list[Node] = []
    paths: set[str] = set()
    for name in draw(st.lists(names, min_size=1, max_size=8)):
        parent = draw(st.sampled_from(nodes)).path if nodes else "./Root"
        path = f"{parent}/{name}"
        if path in paths:
            continue
        paths.add(path)
        nodes.append(
            Node(
                path,
                draw(st.sampled_from(["node", "chr", "int", "bool"])),
                Access(draw(st.integers(1, 31))),
                draw(st.sampled_from(Occurrence)),
                draw(st.sampled_from(Scope)),
                draw(st.sampled_from(sorted(RELEASES))),
                draw(st.none() | texts),
                draw(texts),
                allowed=draw(rules),
                merge=draw(st.none() | st.sampled_from(Merge)),
            )
        )
    return nodes


def read(element: ET.Element, path: str, since: str) -> list[tuple[object, ...]]:
    """What a document says of a node and of all below it, in the words of a row."""
    path = f"{path}/{element.findtext('NodeName')}"
    found = element.find("DFProperties")
    assert found is not None
    since = found.findtext(f"{MSFT}Applicability/{MSFT}OsBuildVersion") or since
    access = Access(0)
    for child in found.findall("AccessType/*"):
        access |= Access[child.tag.upper()]
    row = (
        path,
        found.findall("DFFormat/*")[0].tag,
        access,
        found.findall("Occurrence/*")[0].tag,
        found.findall("Scope/*")[0].tag,
        since,
        found.findtext("DefaultValue"),
        found.findtext("Description"),
        [str(value.text or "") for value in found.iter(f"{MSFT}Value")],
        found.findtext(f"{MSFT}ConflictResolution"),
    )
    return [row, *(below for child in element.findall("Node") for below in read(child, path, since))]


def values_of(allowed: Allowed | None) -> list[str]:
    """What is written of the rules that `trees` draws."""
    match allowed:
        case Range(low, high):
            return [f"[{low}-{high}]"]
        case Choice(values):
            return [str(value) for value in values]
        case Text(pattern):
            return [pattern]
        case _:
            return []


@given(trees())
def test_what_is_written_is_read_back(nodes: list[Node]) -> None:
    """Whatever characters it has, each node is there once, in its place, with all its row says."""
    (root,) = parsed(*nodes).findall("Node")
    found = read(root, str(root.findtext("Path")), "")
    assert len(found) == len(nodes)
    assert {row[0]: row for row in found} == {
        node.path: (
            node.path,
            node.format,
            node.access,
            node.occurrence,
            node.scope,
            os_builds(node.since),
            node.default,
            node.description,
            values_of(node.allowed),
            node.merge,
        )
        for node in nodes
    }
