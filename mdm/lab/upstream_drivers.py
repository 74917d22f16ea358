"""GetDriverIdList and GetDriverSetData, which only Microsoft Update offers (MS-WSUSSS 3.1.4.7, 3.1.4.8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mdm.lab.soap import ErrorCode, Fault, Unreadable, element, text_element
from mdm.lab.upstream_context import anchor_of, deltas_of, guids_of, identity_element

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mdm.lab.soap import Members
    from mdm.lab.upstream_context import Context

__all__ = ["MAX_COMPUTER_IDS", "MAX_DRIVER_SETS", "MAX_PNP_IDS", "DriverFilter", "DriverSet"]
__all__ += ["get_driver_id_list", "get_driver_set_data"]

MAX_DRIVER_SETS: Final = 100
MAX_COMPUTER_IDS: Final = 200
MAX_PNP_IDS: Final = 450


@dataclass(frozen=True, slots=True)
class DriverSet:
    """Drivers that a maker of computers has put together for some of them."""

    driver_set_id: str
    computer_ids: frozenset[str]
    """GUIDs, lower-case."""
    xml: str


@dataclass(frozen=True, slots=True)
class DriverFilter:
    """ServerSyncDriverFilter: ids mapped to their Delta flag."""

    categories: Mapping[str, bool]
    """None is any operating system."""
    computer_ids: Mapping[str, bool]
    pnp_ids: Mapping[str, bool]
    """Lower-case."""


def get_driver_id_list(call: Members, context: Context) -> str:
    """Drivers for hardware ids, and sets for computers; ids and categories nobody knows are ignored."""
    _offered(context)
    wanted = call.members("filter")
    if not wanted.has("DssProtocolVersion"):
        raise Fault(ErrorCode.INVALID_PARAMETERS, "filter")
    text = wanted.text("Anchor")
    since = anchor_of(context, text, "filter").at if text is not None else None
    selected = DriverFilter(
        categories=deltas_of(wanted, "Categories") or {},
        computer_ids=deltas_of(wanted, "ComputerIds") or {},
        pnp_ids={
            item.required("Id").lower(): item.flag("Delta", default=False)
            for item in wanted.items("PnpHardwareIds", "HardwareIdAndDelta")
        },
    )
    if len(selected.computer_ids) > MAX_COMPUTER_IDS or len(selected.pnp_ids) > MAX_PNP_IDS:
        raise Fault(ErrorCode.INVALID_PARAMETERS, "filter")
    anchor = context.store.anchor(context.now)
    found = context.store.drivers(selected, since)
    sets, removed = context.store.driver_sets_for(selected.computer_ids, since)
    # Microsoft Update may answer a full list without an anchor
    anchored = since is not None or context.options.driver_anchors
    return element(
        "GetDriverIdListResult",
        (
            text_element("Anchor", str(anchor)) if anchored else "",
            element("NewRevisions", map(identity_element, found)),
            element("NewDriverSets", (text_element("guid", each) for each in sets)),
            element("RemovedDriverSets", (text_element("guid", each) for each in removed)),
        ),
    )


def get_driver_set_data(call: Members, context: Context) -> str:
    """The sets asked for; one that is not there fails the call, as an unknown revision does."""
    _offered(context)
    wanted = guids_of(call, "driverSets")
    if len(wanted) > MAX_DRIVER_SETS:
        raise Fault(ErrorCode.TOO_MANY_IDS)
    found = [context.store.driver_sets.get(each) for each in wanted]
    if not found or None in found:
        raise Fault(ErrorCode.INVALID_PARAMETERS, "driverSets")
    sets = (
        element(
            "ServerSyncDriverSetData",
            (text_element("DriverSetId", each.driver_set_id), text_element("DriverSetXml", each.xml)),
        )
        for each in found
        if each is not None
    )
    return element("GetDriverSetDataResult", (element("DriverSets", sets),))


def _offered(context: Context) -> None:
    if context.options.flavour != "mu":
        raise Unreadable("this server has no driver service")
