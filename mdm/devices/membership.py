"""Which groups a device is in, and why: pure functions of its facts and the groups' definitions.

A device is in a group if it is a static member, or the group's rule holds for it, or it is in a group that is
included; and it is in no group that is excluded. An exclusion always wins.
"""

from __future__ import annotations

import graphlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mdm.storage.tables import ALL_DEVICES, UNASSIGNED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mdm.devices.facts import DeviceFacts
    from mdm.devices.rules import Rule

__all__ = ["Definition", "Definitions", "NestingCycle", "Reason", "membership", "reasons"]

NO_GROUPS: Final[frozenset[str]] = frozenset()


class NestingCycle(Exception):  # noqa: N818 - named for the state
    """Groups include or exclude each other in a circle, so that none can be decided first."""

    def __init__(self, path: tuple[str, ...]) -> None:
        """`path` begins and ends with the same group; each names the next."""
        super().__init__(" -> ".join(path))
        self.path = path


@dataclass(frozen=True, slots=True)
class Definition:
    """What makes a device a member, besides being a static one."""

    rule: Rule | None = None
    include: frozenset[str] = NO_GROUPS
    """Groups all of whose members are members."""
    exclude: frozenset[str] = NO_GROUPS
    """Groups none of whose members is one."""


@dataclass(frozen=True, slots=True)
class Definitions:
    """All groups but the built-in ones, in an order in which each can be decided."""

    by_id: Mapping[str, Definition]
    order: tuple[str, ...]
    """Groups that others name come before those."""

    @classmethod
    def of(cls, by_id: Mapping[str, Definition]) -> Definitions:
        """Raises NestingCycle."""
        named = {group_id: sorted(each.include | each.exclude) for group_id, each in sorted(by_id.items())}
        try:
            order = tuple(graphlib.TopologicalSorter(named).static_order())
        except graphlib.CycleError as error:
            # graphlib lists each group before the one that names it
            raise NestingCycle(tuple(reversed(error.args[1]))) from None
        return cls(by_id, tuple(group_id for group_id in order if group_id in by_id))

    def below(self, group_id: str) -> Definitions:
        """Those that decide who is in one group: all a device need be asked about it.

        Who is in a built-in group depends on all of them.
        """
        if group_id not in self.by_id:
            return self
        needed = {group_id}
        for each in reversed(self.order):
            if each in needed:
                needed |= self.by_id[each].include | self.by_id[each].exclude
        return Definitions(self.by_id, tuple(each for each in self.order if each in needed))


@dataclass(frozen=True, slots=True)
class Reason:
    """One way in which a device is in a group."""

    how: str
    """`builtin`, `static`, `rule` or `group`."""
    group_id: str | None = None
    """The included group it comes through."""


def membership(facts: DeviceFacts, static: frozenset[str], definitions: Definitions) -> frozenset[str]:
    """The ids of all groups a device is in, `static` being those it was put into by hand."""
    found = {ALL_DEVICES}
    for group_id in definitions.order:
        definition = definitions.by_id[group_id]
        if not definition.exclude.isdisjoint(found):
            continue
        if (
            group_id in static
            or not definition.include.isdisjoint(found)
            or (definition.rule is not None and definition.rule.holds(facts))
        ):
            found.add(group_id)
    if len(found) == 1:
        found.add(UNASSIGNED)
    return frozenset(found)


def reasons(
    facts: DeviceFacts, static: frozenset[str], definitions: Definitions, group_id: str
) -> tuple[Reason, ...]:
    """Every way in which the device is in the group; none if it is not."""
    found = membership(facts, static, definitions)
    if group_id not in found:
        return ()
    definition = definitions.by_id.get(group_id)
    if definition is None:
        return (Reason("builtin"),)
    ways = [Reason("static")] if group_id in static else []
    if definition.rule is not None and definition.rule.holds(facts):
        ways.append(Reason("rule"))
    return (*ways, *(Reason("group", each) for each in sorted(definition.include & found)))
