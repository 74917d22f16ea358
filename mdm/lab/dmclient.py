"""What a virtual device has below ./Vendor/MSFT/DMClient: the settings of its management server.

Which settings there are, who may change them and to what comes from the DDF (`csp.dmclient`). A device has those that
its enrolment or its server set. Of Push it always has Status; ChannelURI is there once the server has named itself in
Push/PFN and Windows has got a channel, which a virtual device gets from its habits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from csp.dmclient import DMCLIENT_TREE, PROVIDER, validate
from csp.errors import InvalidValue
from csp.tree import Access
from mdm.lab.nodes import Leaf, put
from mdm.lab.windows_state import FIRST_SYNC_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from csp.tree import Node
    from mdm.lab.nodes import Branch
    from mdm.lab.versions import Build
    from mdm.lab.windows import Windows

__all__ = ["PFN", "client_branch", "provision", "setting_row", "sync_version_of"]

PFN: Final = "Push/PFN"
_VERSION: Final = "SyncApplicationVersion"

_BELOW: Final = f"./Device/Vendor/MSFT/DMClient/Provider/{PROVIDER}/"
_ROWS: Final[Mapping[str, Node]] = {
    node.path.removeprefix(_BELOW).lower(): node
    for node in DMCLIENT_TREE
    # What a server may write; the version of the sessions has rules of its own.
    if node.path.startswith(_BELOW)
    and node.format != "node"
    and node.access & (Access.ADD | Access.REPLACE)
    and node.name != _VERSION
}

_PUSH_WORKS, _PUSH_HAS_NO_CHANNEL = "0", "4"


def setting_row(name: str) -> tuple[str, Node] | None:
    """A setting by its path below the provider, in any case: its path as the DDF spells it, and its row."""
    row = _ROWS.get(name.lower())
    return None if row is None else (row.path.removeprefix(_BELOW), row)


def sync_version_of(text: str | None, least: str, most: str) -> str | None:
    """The SyncApplicationVersion that a server's text sets, between these two; None for one that Windows refuses.

    How Windows refuses is not published; it does not go back (DMClient CSP).
    """
    try:
        validate(_VERSION, text or "")
    except InvalidValue:
        return None
    version = text if text and "." in text else f"{text}.0"
    return version if _digits(least) <= _digits(version) <= _digits(most) else None


def provision(windows: Windows, build: Build, provisioned: Mapping[str, str]) -> None:
    """Take over what the enrolment's document says below Provider/{id}, path to value.

    A SyncApplicationVersion that this build does not know is left alone, as over OMA DM.
    """
    rows = {name: setting_row(name) for name in provisioned if name != _VERSION}
    settings = {row[0] if row else name: provisioned[name] for name, row in rows.items()}
    version = sync_version_of(provisioned.get(_VERSION), FIRST_SYNC_VERSION, build.max_sync_version)
    windows.provision(settings, version)


def client_branch(windows: Windows, build: Build, provider_id: str) -> Branch:
    """The node DMClient with all that is below it."""
    settings = windows.settings
    provider: Branch = {
        _VERSION: Leaf(windows.state.sync_version),
        "MaxSyncApplicationVersion": Leaf(build.max_sync_version),
        "Unenroll": Leaf("", "null"),
    }
    for name, value in settings.items():
        known = setting_row(name)
        put(provider, name.split("/"), Leaf(value, "chr" if known is None else known[1].format))
    channel = windows.habits.push_channel if PFN in settings else None
    if channel is not None:
        put(provider, ("Push", "ChannelURI"), Leaf(channel))
    put(provider, ("Push", "Status"), Leaf(_PUSH_HAS_NO_CHANNEL if channel is None else _PUSH_WORKS, "int"))
    return {"Provider": {provider_id: provider}, "Unenroll": Leaf("", "null")}


def _digits(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
