"""The version of the session protocol: asked for, read, and raised only where that helps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp.dmclient import validate
from csp.errors import InvalidLocURI
from csp.locuri import LocURI
from csp.sync_version import WANTED, SyncVersions, queries, raise_request, read, tells_errors
from csp.tree import Access
from csp.trees import node_at
from syncml.exchange import Answer, Request
from syncml.messages import Item, Location

AT = "./Vendor/MSFT/DMClient/Provider/CSPBridge"
CURRENT = Request("Get", f"{AT}/SyncApplicationVersion")
CEILING = Request("Get", f"{AT}/MaxSyncApplicationVersion")
RAISE = Request("Replace", CURRENT.loc_uri, format="chr", type="text/plain", data="3.0")


def said(request: Request, *values: str | None, status: int | None = 200) -> Answer:
    """What a device answers, with one item a value."""
    return Answer(request, status, tuple(Item(source=Location(request.loc_uri), data=v) for v in values))


def test_both_nodes_are_asked_for_below_the_server() -> None:
    """One Get each, so that a device without the newer node still answers for the other."""
    assert queries("CSPBridge") == (CURRENT, CEILING)


@pytest.mark.parametrize(
    ("provider_id", "escaped"),
    [("MS DM Server", "MS%20DM%20Server"), ("{a}", "%7ba%7d"), ("ü", "%c3%bc"), ("a%b?c", "a%25b%3fc")],
)
def test_the_servers_name_is_escaped(provider_id: str, escaped: str) -> None:
    """The ProviderID is one node's name, whatever stands in it."""
    uris = [query.loc_uri for query in queries(provider_id)]
    assert uris[0] == f"./Vendor/MSFT/DMClient/Provider/{escaped}/SyncApplicationVersion"
    assert LocURI.parse(uris[1]).segments[4] == provider_id


@pytest.mark.parametrize("provider_id", ["", ".", "..", "*", "\ud800"])
def test_what_no_node_can_be_called_is_refused(provider_id: str) -> None:
    """No name can make an address of something else; each function says so."""
    with pytest.raises(InvalidLocURI):
        queries(provider_id)
    with pytest.raises(InvalidLocURI):
        read((), provider_id)
    with pytest.raises(InvalidLocURI):
        raise_request(provider_id, "1.0", "5.0")


def test_a_name_with_a_slash_stays_one_name() -> None:
    """A slash is escaped, so that it never becomes a step of the path."""
    assert queries("a/b")[0].loc_uri.endswith("/Provider/a%2fb/SyncApplicationVersion")


@pytest.mark.parametrize(
    ("current", "ceiling"),
    [("1.0", "3.0"), ("2.0", "5.0"), ("2", "3"), ("1.0", "10.0"), ("2.9", "3.0.0"), (" 1.0\n", "5.0 ")],
)
def test_a_lower_version_is_raised_to_the_wanted_one(current: str, ceiling: str) -> None:
    """3.0 it becomes, however much more the device knows."""
    assert raise_request("CSPBridge", current, ceiling) == RAISE


@pytest.mark.parametrize(
    ("current", "ceiling"),
    [
        ("3.0", "5.0"),
        ("3", "5.0"),
        ("5.0", "5.0"),
        ("10.0", "10.0"),
        ("1.0", "2.0"),
        ("1.0", "2.9"),
        ("1.0", None),
        (None, "5.0"),
        (None, None),
        ("", "5.0"),
        ("1.0", "newest"),
        ("1.0", "٣.0"),
        ("1.0", "5.0.0.0.0"),
        ("1.0", "9" * 5000),
    ],
)
def test_nothing_is_sent_where_it_would_not_help(current: str | None, ceiling: str | None) -> None:
    """Reached, out of reach, unknown, or no version at all: the device is left as it is."""
    assert raise_request("CSPBridge", current, ceiling) is None


def test_what_is_sent_is_allowed_by_the_tree() -> None:
    """The DDF takes the Gets, the Replace and its value."""
    for request in (*queries("CSPBridge"), RAISE):
        node = node_at(LocURI.parse(request.loc_uri))
        assert node is not None
        assert Access[request.verb.upper()] in node.access
    validate("SyncApplicationVersion", WANTED)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((), SyncVersions()),
        ((said(Request("Get", "./DevDetail/SwV"), "3.0"),), SyncVersions()),
        ((said(CURRENT, status=None), said(CEILING, status=None)), SyncVersions()),
        ((said(CURRENT, "1.0"), said(CEILING, "5.0")), SyncVersions("1.0", "5.0", answered=True)),
        ((said(CEILING, "5.0"), said(CURRENT, " 2.0\n")), SyncVersions("2.0", "5.0", answered=True)),
        ((said(CURRENT, "1.0"),), SyncVersions("1.0", None, answered=True)),
        ((said(CURRENT, status=404), said(CEILING, "2.0")), SyncVersions("1.0", "2.0", answered=True)),
        ((said(CEILING, "2.0"), said(CURRENT, status=404)), SyncVersions("1.0", "2.0", answered=True)),
        ((said(CURRENT, status=405), said(CEILING, "2.0")), SyncVersions(None, "2.0", answered=True)),
        ((said(CURRENT, status=404), said(CEILING, status=404)), SyncVersions(answered=True)),
        ((said(CURRENT), said(CEILING, None, "")), SyncVersions(answered=True)),
        ((said(CURRENT, None, "4.0"),), SyncVersions("4.0", None, answered=True)),
        ((said(RAISE),), SyncVersions("3.0", None, answered=True)),
        ((said(CURRENT, "1.0"), said(RAISE)), SyncVersions("3.0", None, answered=True)),
        ((said(CURRENT, "1.0"), said(RAISE, status=405)), SyncVersions("1.0", None, answered=True)),
        ((said(RAISE, status=500),), SyncVersions(answered=True)),
        ((said(RAISE, status=None),), SyncVersions()),
    ],
)
def test_what_a_device_says_is_read(answers: tuple[Answer, ...], expected: SyncVersions) -> None:
    """Values as they were written, silence as None, and no answer at all as nothing known."""
    assert read(answers, "CSPBridge") == expected


def test_another_servers_version_is_not_ours() -> None:
    """A device may have two enrolments; only the node of our own name counts."""
    assert read([said(CURRENT, "5.0")], "Other") == SyncVersions()


@pytest.mark.parametrize(
    ("version", "tells"),
    [
        ("3.0", True),
        ("3", True),
        ("5.0", True),
        ("10.0", True),
        ("2.0", False),
        ("0", False),
        (None, False),
        ("x", False),
    ],
)
def test_errors_are_told_from_the_wanted_version_on(version: str | None, tells: bool) -> None:  # noqa: FBT001 - a parameter of the table
    """3.0 is the first version whose statuses carry msft:originalerror; `WANTED` is that version."""
    assert tells_errors(version) is tells
    assert tells_errors(WANTED)


@given(st.text() | st.none(), st.text() | st.none())
def test_no_text_of_a_device_raises(current: str | None, ceiling: str | None) -> None:
    """Whatever a device writes, the decision is a request or None."""
    assert raise_request("CSPBridge", current, ceiling) in {RAISE, None}
