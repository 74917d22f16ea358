"""Our trees are Microsoft's device descriptions, apart from the differences named in docs/divergences.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

import pytest

from csp.ddf import write_ddf
from csp.trees import TREES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
DDF: Final = ROOT.parent / "shared" / "data" / "ddf"
DIVERGENCES: Final = ROOT / "docs" / "divergences.md"

pytestmark = pytest.mark.skipif(not DDF.exists(), reason="the description files are not at hand")

MSFT: Final = "{http://schemas.microsoft.com/MobileDevice/DM}"
FILES: Final = {
    "update": "update.xml",
    "policy": "policy-update-area.xml",
    "dmclient": "dmclient.xml",
    "devinfo": "devinfo.xml",
    "devdetail": "devdetail.xml",
    "reboot": "reboot.xml",
}
NOT_DESCRIBED: Final = "./Device/Vendor/MSFT/Policy/Result/Update"
"""What no file describes: Microsoft's newer files are about Policy/Config only."""

trees = pytest.mark.parametrize("name", FILES)


def tags(properties: ET.Element, name: str) -> str:
    """The names of the elements below one element, sorted."""
    return (
        " ".join(sorted(child.tag.removeprefix(MSFT) for child in properties.findall(f"{name}/*"))) or "none"
    )


def values_of(element: ET.Element | None) -> str:
    """An element of the kind AllowedValues in one line; the order of choices says nothing."""
    if element is None:
        return "not said"
    values = [str(value.text) for value in element.iter(f"{MSFT}Value")]
    values.sort(key=lambda value: (len(value), value))
    delimiters = [str(each.get("Delimiter")) for each in element.findall(f"{MSFT}List")]
    return " ".join([str(element.get("ValueType")), *values, *(f"list by {each}" for each in delimiters)])


def needs_of(properties: ET.Element) -> str:
    """The dependencies of a node in one line."""
    return (
        "; ".join(
            f"{each.get('Type')} {str(each.findtext(f'{MSFT}DependencyUri')).rpartition('/')[2]} "
            f"{values_of(each.find(f'{MSFT}DependencyAllowedValue'))}"
            for each in properties.iter(f"{MSFT}Dependency")
        )
        or "none"
    )


def type_of(properties: ET.Element) -> str:
    """The DFType; a leaf without one has the default of MS-MDM, and an interior node without a MIME none."""
    is_leaf = properties.find("DFFormat/node") is None
    return properties.findtext("DFType/MIME") or ("text/plain" if is_leaf else "none")


def properties_of(properties: ET.Element, since: str) -> dict[str, str]:
    """What is compared of a node, as text."""
    return {
        "format": tags(properties, "DFFormat"),
        "access": tags(properties, "AccessType"),
        "occurrence": tags(properties, "Occurrence"),
        "scope": tags(properties, "Scope"),
        "type": type_of(properties),
        "default": properties.findtext("DefaultValue") or "none",
        "case": tags(properties, "CaseSense"),
        "since": since,
        "naming": tags(properties, f"{MSFT}DynamicNodeNaming"),
        "allowed": values_of(properties.find(f"{MSFT}AllowedValues")),
        "needs": needs_of(properties),
        "merge": properties.findtext(f"{MSFT}ConflictResolution") or "none",
    }


def described(node: ET.Element, parent: str, since: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Path and properties of a node and of all below it, which inherit its applicability."""
    path = f"{parent}/{(node.findtext('NodeName') or '').strip() or '{}'}"
    properties = node.find("DFProperties")
    assert properties is not None
    since = properties.findtext(f"{MSFT}Applicability/{MSFT}OsBuildVersion") or since
    yield path, properties_of(properties, since)
    for child in node.findall("Node"):
        yield from described(child, path, since)


def nodes_of(root: ET.Element) -> dict[str, dict[str, str]]:
    """Every node of a document by its path; a node without a name is `{}`."""
    return {
        path: properties
        for node in root.findall("Node")
        for path, properties in described(node, str(node.findtext("Path")), "not said")
    }


def differences(name: str) -> dict[tuple[str, str], tuple[str, str]]:
    """(path, property) to what Microsoft's file says and what ours says, wherever they are not the same."""
    theirs = nodes_of(ET.parse(DDF / FILES[name]).getroot())  # noqa: S314 - our own files, no DTD is loaded
    ours = nodes_of(ET.XML(write_ddf(TREES[name])))
    # DDF v1 has no element for who names a node.
    is_v1 = all(properties["since"] == "not said" for properties in theirs.values())
    found = {}
    for path in theirs | ours:
        if path.startswith(NOT_DESCRIBED):
            continue
        if path not in theirs or path not in ours:
            found[path, "node"] = ("present", "absent") if path in theirs else ("absent", "present")
            continue
        for key, value in theirs[path].items():
            silent = (key == "naming" and is_v1) or (key == "since" and value == "not said")
            if value != ours[path][key] and not silent:
                found[path, key] = value, ours[path][key]
    return found


def documented() -> dict[tuple[str, str], tuple[str, str, str]]:
    """The rows of the section's table: (path, property) to Microsoft's, ours and the reason."""
    section = DIVERGENCES.read_text(encoding="utf-8").partition("\n## Device descriptions (DDF)\n")[2]
    rows = {}
    for line in section.partition("\n## ")[0].splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 5 and cells[0].startswith("`"):
            path, key, theirs, ours, reason = cells
            row = (path.strip("`"), key)
            assert row not in rows, row
            rows[row] = (theirs.strip("`"), ours.strip("`"), reason)
    return rows


@trees
def test_every_tree_has_a_file(name: str) -> None:
    """Each tree is compared, and Microsoft's file of it is not empty."""
    assert set(FILES) == set(TREES)
    assert len(nodes_of(ET.parse(DDF / FILES[name]).getroot())) > 5  # noqa: S314 - as above


@trees
def test_every_difference_is_documented(name: str) -> None:
    """Node by node and property by property: what is not the same stands in docs/divergences.md with both sides."""
    rows = documented()
    undocumented = {
        where: sides for where, sides in differences(name).items() if rows.get(where, ("", ""))[:2] != sides
    }
    assert undocumented == {}


def test_every_documented_difference_is_one() -> None:
    """A difference that has gone must leave the document, and each has its reason."""
    found = {where: sides for name in FILES for where, sides in differences(name).items()}
    rows = documented()
    assert rows
    assert {where: sides[:2] for where, sides in rows.items() if found.get(where) != sides[:2]} == {}
    assert [where for where, (_, _, reason) in rows.items() if not reason.endswith(".")] == []
