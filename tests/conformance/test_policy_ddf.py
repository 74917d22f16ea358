"""`csp.policy.POLICIES` is the DDF of Policy/Config/Update, apart from the differences named here."""

from __future__ import annotations

from pathlib import Path
from typing import Final, assert_never
from xml.etree import ElementTree as ET

import pytest

from csp.policy import ACCESS, OCCURRENCE, POLICIES, Allowed, Choice, Date, Policy, Range, Text, policy_uri

DDF: Final = Path(__file__).parents[2].parent / "shared" / "data" / "ddf" / "policy-update-area.xml"

pytestmark = pytest.mark.skipif(not DDF.exists(), reason="the description files are not at hand")

MSFT: Final = "{http://schemas.microsoft.com/MobileDevice/DM}"

NOT_IN_DDF: Final = {
    "AlwaysAutoRebootAtScheduledTimeMinutes": "Only in Policy CSP Update of 2024-09-27, newer than the file.",
}
"""Policy name to why we have it although the DDF does not."""

DIFFERENCES: Final = {
    ("PauseFeatureUpdatesStartTime", "allowed"): (
        "any text",
        "a date",
        "The description in the DDF and the page ask for yyyy-mm-dd.",
    ),
    ("PauseQualityUpdatesStartTime", "allowed"): (
        "any text",
        "a date",
        "The description in the DDF and the page ask for yyyy-mm-dd.",
    ),
    ("ProductVersion", "allowed"): (
        "any text",
        r"\S(?:.*\S)?",
        "Windows ignores a name it does not know without a word; blanks around it make it one.",
    ),
    ("TargetReleaseVersion", "allowed"): (
        "any text",
        r"\S(?:.*\S)?",
        "Windows ignores a release it does not know without a word; blanks around it make it one.",
    ),
    ("UpdateServiceUrl", "allowed"): (
        "any text",
        r"https?://[^\s/]\S*",
        "Anything but an address takes the device off every update source.",
    ),
    ("UpdateServiceUrlAlternate", "allowed"): (
        "any text",
        r"https?://[^\s/]\S*",
        "Anything but an address takes the device off its download source.",
    ),
    ("AllowTemporaryEnterpriseFeatureControl", "since"): (
        "W11 22H2+1194 / unreleased",
        "W11 22H2+1194",
        "99.9.99999 stands for a Windows that was not released when the file was made.",
    ),
    ("ConfigureDeadlineNoAutoRebootForFeatureUpdates", "since"): (
        "unreleased",
        "W11 24H2",
        "Policy CSP Update names 10.0.26100 for what was unreleased when the file was made.",
    ),
    ("ConfigureDeadlineNoAutoRebootForQualityUpdates", "since"): (
        "unreleased",
        "W11 24H2",
        "Policy CSP Update names 10.0.26100 for what was unreleased when the file was made.",
    ),
}
"""(policy, property) to what the DDF says, what our row says, and why."""

VERSIONS: Final = {
    "10240": "1507",
    "14393": "1607",
    "15063": "1703",
    "16299": "1709",
    "17134": "1803",
    "17763": "1809",
    "18362": "1903",
    "18363": "1909",
    "19041": "2004",
    "19042": "20H2",
    "19043": "21H1",
    "19044": "21H2",
    "19045": "22H2",
    "20348": "Server 2022",
    "22000": "W11 21H2",
    "22621": "W11 22H2",
}
"""Build to the name of the Windows version."""


def since_of(builds: str) -> str:
    """`10.0.19044.3757, 10.0.22000` as our rows write it."""
    names = []
    for build in builds.split(", "):
        number, *revision = build.split(".")[2:]
        name = "unreleased" if number == "99999" else VERSIONS[number]
        names.append("+".join([name, *revision]))
    return " / ".join(names)


def allowed_of(node: ET.Element) -> str:
    """The AllowedValues of a DDF node, in words."""
    values = node.find(f"DFProperties/{MSFT}AllowedValues")
    if values is None:
        return "any text"
    if values.get("ValueType") == "Range":
        return str(values.findtext(f"{MSFT}Value"))
    assert values.get("ValueType") == "ENUM"
    # The order says nothing: one policy lists 1 before 0.
    return ",".join(sorted((str(value.text) for value in values.findall(f"{MSFT}Enum/{MSFT}Value")), key=int))


def words_of(allowed: Allowed) -> str:
    """Our rule in the same words."""
    if isinstance(allowed, Choice):
        return ",".join(map(str, allowed.values))
    if isinstance(allowed, Range):
        return f"[{allowed.low}-{allowed.high}]"
    if isinstance(allowed, Date):
        return "a date"
    if isinstance(allowed, Text):
        return allowed.pattern
    assert_never(allowed)


def described(node: ET.Element) -> dict[str, str]:
    """The properties of a DDF node that a row also has, as text."""

    def tags(name: str) -> str:
        return " ".join(sorted(child.tag for child in node.findall(f"DFProperties/{name}/*")))

    return {
        "format": tags("DFFormat"),
        "access": tags("AccessType"),
        "occurrence": tags("Occurrence"),
        "scope": tags("Scope"),
        "type": str(node.findtext("DFProperties/DFType/MIME")),
        "allowed": allowed_of(node),
        "default": str(node.findtext("DFProperties/DefaultValue")),
        "since": since_of(node.findtext(f"DFProperties/{MSFT}Applicability/{MSFT}OsBuildVersion", "")),
        "merge": str(node.findtext(f"DFProperties/{MSFT}ConflictResolution")),
    }


def stated(policy: Policy) -> dict[str, str]:
    """The same properties of one of our rows."""
    return {
        "format": policy.format,
        "access": " ".join(sorted(str(flag.name).title() for flag in ACCESS)),
        "occurrence": OCCURRENCE,
        "scope": "Dynamic",
        "type": "text/plain",
        "allowed": words_of(policy.allowed),
        "default": str(policy.default),
        "since": policy.since,
        "merge": str(policy.merge),
    }


@pytest.fixture(scope="module")
def area() -> ET.Element:
    """The node of the area."""
    root = ET.parse(DDF).getroot().find("Node")  # noqa: S314 - a file of the project, no DTD is loaded
    assert root is not None
    return root


@pytest.fixture(scope="module")
def ddf(area: ET.Element) -> dict[str, dict[str, str]]:
    """The DDF's policies by name."""
    return {str(node.findtext("NodeName")): described(node) for node in area.findall("Node")}


def test_the_policies_are_those_of_the_ddf(ddf: dict[str, dict[str, str]]) -> None:
    """None is missing; those the DDF lacks are named with their reason."""
    assert set(POLICIES) - set(ddf) == set(NOT_IN_DDF)
    assert set(ddf) <= set(POLICIES)


def test_a_policy_stands_where_the_area_is(area: ET.Element) -> None:
    """Our addresses are the DDF's path and names."""
    place = f"{area.findtext('Path')}/{area.findtext('NodeName')}"
    for node in area.findall("Node"):
        name = str(node.findtext("NodeName"))
        assert policy_uri(name) == f"{place}/{name}"


@pytest.mark.parametrize("name", sorted(set(POLICIES) - set(NOT_IN_DDF)))
def test_every_policy_is_as_described(name: str, ddf: dict[str, dict[str, str]]) -> None:
    """Format, access, occurrence, scope, type, allowed values, default, versions and merging agree."""
    for key, value in stated(POLICIES[name]).items():
        their, our, _ = DIFFERENCES.get((name, key), (value, value, ""))
        assert (ddf[name][key], value) == (their, our), key


def test_every_named_difference_is_one(ddf: dict[str, dict[str, str]]) -> None:
    """A difference that has gone must leave the list."""
    for (name, key), (theirs, ours, reason) in DIFFERENCES.items():
        assert (ddf[name][key], stated(POLICIES[name])[key]) == (theirs, ours)
        assert theirs != ours
        assert reason
