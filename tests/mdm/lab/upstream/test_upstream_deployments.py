"""GetDeployments: groups and lists as a whole, deployments as changes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from mdm.lab.documents import Identity
from mdm.lab.upstream_deployments import ALL_COMPUTERS, UNASSIGNED, Deployment, TargetGroup

if TYPE_CHECKING:
    from conftest import Peer, Reply

ONE = "aaaaaaaa-0000-4000-8000-000000000001"
FIRST = Deployment("dddddddd-0000-4000-8000-000000000001", Identity(ONE, 200))
SECOND = Deployment(
    "dddddddd-0000-4000-8000-000000000002",
    Identity(ONE, 201),
    group_id="cccccccc-0000-4000-8000-000000000001",
    action=3,
    deadline=datetime(2026, 12, 24, 18, tzinfo=UTC),
    assigned=False,
)


def deployments(peer: Peer, anchor: str | None = None) -> Reply:
    """GetDeployments, with a good syncAnchor."""
    sync = peer.revisions("<GetConfig>true</GetConfig>").text("Anchor")
    own = f"<deploymentAnchor>{anchor}</deploymentAnchor>" if anchor else ""
    return peer.call("GetDeployments", f"{peer.cookie()}{own}<syncAnchor>{sync}</syncAnchor>")


def test_a_deployment_is_told_as_a_wsus_tells_it(peer: Peer) -> None:
    """Every member of the two, in the order of the WSDL; no deadline is the end of time."""
    peer.server.deploy(FIRST)
    peer.server.deploy(SECOND)
    found = list(deployments(peer).body.iter("{*}ServerSyncDeployment"))
    told = [{member.tag.partition("}")[2]: member.text for member in each} for each in found]
    assert told[0] == {
        "UpdateId": ONE,
        "RevisionNumber": "200",
        "Action": "0",
        "AdminName": "LAB\\administrator",
        "Deadline": "9999-12-31T23:59:59.9999999",
        "IsAssigned": "true",
        "GoLiveTime": "2026-01-01T00:00:00Z",
        "DeploymentGuid": FIRST.deployment_id,
        "TargetGroupId": ALL_COMPUTERS,
        "DownloadPriority": "1",
    }
    assert told[1]["Deadline"] == "2026-12-24T18:00:00Z"
    assert (told[1]["Action"], told[1]["IsAssigned"]) == ("3", "false")
    assert told[1]["TargetGroupId"] == SECOND.group_id


def test_an_anchor_leaves_the_changes(peer: Peer) -> None:
    """New and changed deployments, and the ids of those taken back; nothing twice."""
    peer.server.deploy(FIRST)
    anchor = deployments(peer).text("Anchor")
    assert deployments(peer, anchor).texts("DeploymentGuid") == []
    peer.server.deploy(SECOND)
    peer.server.undeploy(FIRST.deployment_id)
    later = deployments(peer, anchor)
    assert later.texts("DeploymentGuid") == [SECOND.deployment_id]
    assert [each.text for each in later.body.iterfind(".//{*}DeadDeployments/{*}guid")] == [
        FIRST.deployment_id
    ]
    assert deployments(peer, later.text("Anchor")).texts("DeploymentGuid") == []
    with pytest.raises(KeyError):
        peer.server.undeploy(FIRST.deployment_id)


def test_groups_and_lists_are_always_whole(peer: Peer) -> None:
    """The two built-in groups and the administrator's; hidden updates; accepted licences."""
    own = TargetGroup("cccccccc-0000-4000-8000-000000000001", "Pilot & friends")
    peer.server.decide(groups=[own], hidden_updates=[ONE], accepted_eulas=["e1", "e0"])
    anchor = deployments(peer).text("Anchor")
    reply = deployments(peer, anchor)
    assert reply.texts("TargetGroupID") == [ALL_COMPUTERS, UNASSIGNED, own.group_id]
    assert reply.texts("ParentGroupId")[0] == "00000000-0000-0000-0000-000000000000"
    assert reply.texts("ParentGroupId")[1:] == [ALL_COMPUTERS] * 2
    assert reply.texts("Name") == ["All Computers", "Unassigned Computers", "Pilot & friends"]
    assert reply.texts("IsBuiltin") == ["true", "true", "false"]
    assert [each.text for each in reply.body.iterfind(".//{*}HiddenUpdates/{*}guid")] == [ONE]
    assert [each.text for each in reply.body.iterfind(".//{*}AcceptedEulas/{*}guid")] == ["e0", "e1"]
