"""The Gets of a check-in, literally."""

from __future__ import annotations

import pytest

from csp.devdetail import DEVDETAIL_TREE
from csp.errors import InvalidGuid, InvalidValue
from csp.locuri import LocURI
from csp.queries import confirm_installed, identity_queries, policy_queries, state_queries
from csp.tree import Access, find_node
from syncml.exchange import Request

EVERY_TIME = [
    "./Vendor/MSFT/Update/InstallableUpdates?list=StructData",
    "./Vendor/MSFT/Update/FailedUpdates?list=StructData",
    "./Vendor/MSFT/Update/PendingRebootUpdates?list=StructData",
    "./Vendor/MSFT/Update/ApprovedUpdates?list=StructData",
    "./Vendor/MSFT/Update/LastSuccessfulScanTime",
]


def test_a_check_in_asks_for_each_subtree_on_its_own() -> None:
    """One Get per list, so that one failure hides no other; InstalledUpdates is left out."""
    assert state_queries(installed=False) == tuple(Request("Get", uri) for uri in EVERY_TIME)


def test_installed_updates_are_asked_last() -> None:
    """The largest answer comes after everything else."""
    queries = state_queries(installed=True)
    assert [query.loc_uri for query in queries] == [
        *EVERY_TIME,
        "./Vendor/MSFT/Update/InstalledUpdates?list=StructData",
    ]


def test_what_a_device_is_is_asked_for() -> None:
    """Four leaves of ./DevDetail, each an address of its tree that can be read."""
    queries = identity_queries()
    assert queries == (
        Request("Get", "./DevDetail/SwV"),
        Request("Get", "./DevDetail/Ext/Microsoft/OSPlatform"),
        Request("Get", "./DevDetail/Ext/Microsoft/DNSComputerName"),
        Request("Get", "./DevDetail/Ext/Microsoft/SMBIOSSerialNumber"),
    )
    readable = {node.path for node in DEVDETAIL_TREE if Access.GET in node.access}
    assert {query.loc_uri for query in queries} <= readable


def test_one_update_is_confirmed_by_its_node() -> None:
    """The GUID goes out in the documented form, whatever form came in."""
    query = confirm_installed("{A317DAFE-BAF4-453F-B232-A7075EFAE36E}")
    assert query == Request(
        "Get",
        "./Vendor/MSFT/Update/InstalledUpdates/%7ba317dafe-baf4-453f-b232-a7075efae36e%7d?list=StructData",
    )


def test_rubbish_is_not_asked_for() -> None:
    """What is not a GUID raises before it can become part of an address."""
    with pytest.raises(InvalidGuid):
        confirm_installed("../../Policy")


@pytest.mark.parametrize("query", state_queries(installed=True), ids=lambda query: query.loc_uri)
def test_every_query_is_allowed_by_the_tree(query: Request) -> None:
    """Each address is a node of the Update CSP that accepts Get."""
    node = find_node(LocURI.parse(query.loc_uri))
    assert node is not None
    assert Access.GET in node.access


def test_policies_are_asked_for_in_result_one_get_each() -> None:
    """By name, each once, and where the value in effect stands."""
    assert policy_queries(["ScheduledInstallDay", "AllowAutoUpdate", "ScheduledInstallDay"]) == (
        Request("Get", "./Device/Vendor/MSFT/Policy/Result/Update/AllowAutoUpdate"),
        Request("Get", "./Device/Vendor/MSFT/Policy/Result/Update/ScheduledInstallDay"),
    )
    assert policy_queries([]) == ()
    with pytest.raises(InvalidValue):
        policy_queries(["NoSuchPolicy"])
