"""/maintenance-windows: when devices may be given updates."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from mdm.access.scopes import Scope
from mdm.rest.fields import Body, Name, NoBody, NoQuery, ObjectId, PageQuery
from mdm.rest.operations import Call, Operation, Reply
from mdm.windows.definition import MAX_CATCH_UP_HOURS, WindowDefinition
from mdm.windows.preview import preview_window
from mdm.windows.recurrence import MAX_DURATION, MAX_OFFSET, MIN_DURATION, MIN_OFFSET
from mdm.windows.store import change_window, create_window, delete_window, get_window, list_windows

__all__ = ["OPERATIONS"]

_MINUTE = 60

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


def _no_truth(value: Any) -> Any:
    """Refuse `true`, which equals 1 and would be taken for it."""
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "must be 1, 2, 3, 4 or last")
    return value


class NewPattern(Body):
    """On which days a window begins; each type has its own members."""

    type: Literal["weekly", "monthly", "patch_tuesday"]
    days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)] | None = None
    """Of `weekly`."""
    nth: Annotated[Literal[1, 2, 3, 4, "last"], BeforeValidator(_no_truth)] | None = None
    """Of `monthly`: which such weekday."""
    weekday: Weekday | None = None
    """Of `monthly`."""
    offset_days: Annotated[int, Field(ge=MIN_OFFSET, le=MAX_OFFSET)] | None = None
    """Of `patch_tuesday`: days after it, or before; 0 if left out."""


class NewWindow(Body):
    """A maintenance window to make, or as it is to be."""

    name: Name
    group_ids: Annotated[tuple[ObjectId, ...], Field(min_length=1, max_length=100)]
    pattern: NewPattern
    start: Annotated[str, StringConstraints(pattern=r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]$")]
    """`HH:MM`, by the clocks of the zone."""
    duration_minutes: Annotated[
        int,
        Field(
            ge=int(MIN_DURATION.total_seconds()) // _MINUTE, le=int(MAX_DURATION.total_seconds()) // _MINUTE
        ),
    ]
    """Elapsed time, whatever the clocks do meanwhile."""
    zone: Name
    """IANA name such as `Europe/Berlin`, or `device` for each device's own local time."""
    fallback_zone: Name | None = None
    """With `device`, and needed then: the zone by which deliveries are judged."""
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None
    """Before and after these the window restricts nobody."""
    catch_up_hours: Annotated[int, Field(ge=0, le=MAX_CATCH_UP_HOURS)] = 0
    """For so long after it a device that was not seen during it may still be given updates."""
    enforce_on_device: bool = False
    """Write the schedule into the devices' policies, where these can say it exactly (`enforcement`)."""
    allow_auto_update: Literal[3, 4] = 3
    """AllowAutoUpdate that goes with the schedule: 4 leaves the user no control over it."""
    reason: Name | None = None

    def definition(self) -> WindowDefinition:
        """The same, as the domain has it."""
        return WindowDefinition(
            name=self.name,
            group_ids=self.group_ids,
            pattern=self.pattern.model_dump(exclude_none=True),
            start=self.start,
            duration_minutes=self.duration_minutes,
            zone=self.zone,
            fallback_zone=self.fallback_zone,
            valid_from=self.valid_from,
            valid_until=self.valid_until,
            catch_up_hours=self.catch_up_hours,
            enforce_on_device=self.enforce_on_device,
            allow_auto_update=self.allow_auto_update,
            reason=self.reason,
        )


class PreviewedWindow(NewWindow):
    """A window to think of."""

    replaces: ObjectId | None = None
    """The window that this definition would be given to."""


def _create(call: Call[NoQuery, NewWindow]) -> Reply:
    window = create_window(call.conn, call.origin, call.body.definition(), now=call.now)
    return Reply.created(f"/maintenance-windows/{window.id}", window)


def _list(call: Call[PageQuery, NoBody]) -> Reply:
    position = call.position(call.query, str)
    after = None if position.after is None else position.after[0]
    rows = list_windows(call.conn, after=after, limit=position.fetch, now=call.now)
    return Reply.of_page(position.page(rows, key=lambda row: (row.name,)))


def _get(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(get_window(call.conn, call.path_params["window"], now=call.now))


def _change(call: Call[NoQuery, NewWindow]) -> Reply:
    window_id = call.path_params["window"]
    return Reply(change_window(call.conn, call.origin, window_id, call.body.definition(), now=call.now))


def _delete(call: Call[NoQuery, NoBody]) -> Reply:
    delete_window(call.conn, call.origin, call.path_params["window"], now=call.now)
    return Reply()


def _preview(call: Call[NoQuery, PreviewedWindow]) -> Reply:
    body = call.body
    return Reply(preview_window(call.conn, body.definition(), replaces=body.replaces, now=call.now))


OPERATIONS = (
    Operation(
        method="POST",
        path="/maintenance-windows",
        scope=Scope.APPROVALS_WRITE,
        handler=_create,
        query=NoQuery,
        body=NewWindow,
        status=201,
        summary="Make a maintenance window for groups",
    ),
    Operation(
        method="GET",
        path="/maintenance-windows",
        scope=Scope.APPROVALS_READ,
        handler=_list,
        query=PageQuery,
        body=NoBody,
        summary="List maintenance windows by name",
    ),
    Operation(
        method="POST",
        path="/maintenance-windows/preview",
        scope=Scope.APPROVALS_READ,
        handler=_preview,
        query=NoQuery,
        body=PreviewedWindow,
        reads_only=True,
        summary="Show whom a window would be for and when it would open; nothing is stored",
    ),
    Operation(
        method="GET",
        path="/maintenance-windows/{window}",
        scope=Scope.APPROVALS_READ,
        handler=_get,
        query=NoQuery,
        body=NoBody,
        summary="Read a maintenance window with its next openings",
    ),
    Operation(
        method="PUT",
        path="/maintenance-windows/{window}",
        scope=Scope.APPROVALS_WRITE,
        handler=_change,
        query=NoQuery,
        body=NewWindow,
        summary="Give a maintenance window another definition",
    ),
    Operation(
        method="DELETE",
        path="/maintenance-windows/{window}",
        scope=Scope.APPROVALS_WRITE,
        handler=_delete,
        query=NoQuery,
        body=NoBody,
        status=204,
        summary="Delete a maintenance window",
    ),
)
