"""Sending a device out of management: the two addresses, and what counts as their absence."""

from __future__ import annotations

import pytest

from csp.errors import InvalidLocURI
from csp.unenrolment import has_no_node, is_unenrol, unenrol
from syncml.exchange import Answer, Request

NEWER = Request("Exec", "./Vendor/MSFT/DMClient/Provider/CSPBridge/Unenroll", format="chr", data="CSPBridge")
OLDER = Request("Exec", "./Vendor/MSFT/DMClient/Unenroll", format="chr", data="CSPBridge")


def test_both_forms_name_the_server_in_their_data() -> None:
    """The address of the newer one names it, too."""
    assert unenrol("CSPBridge") == NEWER
    assert unenrol("CSPBridge", older=True) == OLDER


def test_the_name_is_escaped_in_the_address_only() -> None:
    """A name with a slash stays one segment."""
    request = unenrol("Contoso/IT")
    assert request.loc_uri == "./Vendor/MSFT/DMClient/Provider/Contoso%2fIT/Unenroll"
    assert request.data == "Contoso/IT"
    assert is_unenrol(request)
    with pytest.raises(InvalidLocURI):
        unenrol("")


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (NEWER, True),
        (OLDER, True),
        (Request("Get", NEWER.loc_uri), False),
        (Request("Exec", "./Vendor/MSFT/Update/Rollback/QualityUpdate"), False),
        (Request("Exec", "./Vendor/MSFT/DMClient/Provider/CSPBridge/Push"), False),
        # ends the second enrolment of a device, and leaves the first
        (Request("Exec", "./Vendor/MSFT/DMClient/Provider/CSPBridge/LinkedEnrollment/Unenroll"), False),
        (Request("Exec", "./User/Vendor/MSFT/DMClient/Unenroll"), False),
    ],
)
def test_which_commands_send_a_device_away(request_: Request, told: bool) -> None:  # noqa: FBT001 - a case
    """Those two and no other."""
    assert is_unenrol(request_) is told


@pytest.mark.parametrize(
    ("status", "absent"), [(404, True), (405, True), (None, False), (200, False), (500, False), (406, False)]
)
def test_the_older_node_is_tried_where_there_is_no_newer(status: int | None, absent: bool) -> None:  # noqa: FBT001 - a case
    """No answer is what Windows gives to one it carries out."""
    assert has_no_node([Answer(NEWER, status)], "CSPBridge") is absent
    assert has_no_node([Answer(OLDER, status)], "CSPBridge") is False
    assert has_no_node([Answer(NEWER, status)], "Other") is False
    assert has_no_node([], "CSPBridge") is False
