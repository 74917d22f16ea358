"""Enrolment users: people who may enrol devices with a password that IT gave them."""

from __future__ import annotations

import secrets
import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, or_, select, update

from mdm.audit import record
from mdm.enrolment.passwords import hash_password
from mdm.enrolment.throttle import forget_tries, name_key
from mdm.errors import Conflict, NotFound
from mdm.storage.statements import insert_ignore, table_of
from mdm.storage.tables import EnrolmentUser

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.audit import Origin

__all__ = [
    "MAX_DEVICES",
    "UserView",
    "change_user",
    "create_user",
    "delete_user",
    "find_user",
    "get_user",
    "list_users",
    "set_password",
    "touch_user",
    "username_key",
]

MAX_DEVICES: Final = 100_000

_table: Final = table_of(EnrolmentUser)
_HIDDEN: Final = frozenset({"password_hash", "username_key"})
_COLUMNS: Final = [column for column in _table.columns if column.name not in _HIDDEN]


@dataclass(frozen=True, slots=True)
class UserView:
    """A user; the password is not in it, nor anywhere."""

    id: str
    username: str
    max_devices: int | None
    """Devices the user may have enrolled at a time; None: any number."""
    enabled: bool
    created_at: datetime
    password_set_at: datetime
    last_used_at: datetime | None


def username_key(username: str) -> str:
    """A user name as names are compared: without regard to case, blanks around it and forms of a character."""
    return unicodedata.normalize("NFKC", username).strip().casefold()


def create_user(
    conn: Connection,
    origin: Origin,
    *,
    username: str,
    password: str,
    max_devices: int | None,
    now: datetime,
) -> UserView:
    """Store a new user; raises Invalid for a bad password and Conflict `enrolment_user_exists` for a known name."""
    user = UserView(
        id=f"enu_{secrets.token_hex(10)}",
        username=username,
        max_devices=max_devices,
        enabled=True,
        created_at=now,
        password_set_at=now,
        last_used_at=None,
    )
    stored = {column.name: getattr(user, column.name) for column in _COLUMNS}
    key = username_key(username)
    made = conn.execute(
        insert_ignore(_table, conn).values(username_key=key, password_hash=hash_password(password), **stored)
    )
    if made.rowcount == 0:
        existing = conn.scalar(select(_table.c.id).where(_table.c.username_key == key))
        raise Conflict(
            f"There is an enrolment user {username!r} already.",
            code="enrolment_user_exists",
            existing=existing,
        )
    record(
        conn,
        origin,
        now=now,
        action="enrolment_user.create",
        object_type="enrolment_user",
        object_id=user.id,
        after={"username": username, "max_devices": max_devices, "enabled": True},
    )
    return user


def list_users(
    conn: Connection, *, after: tuple[datetime, str] | None = None, limit: int | None = None
) -> list[UserView]:
    """Users in order of creation, beginning after (created_at, id)."""
    query = select(*_COLUMNS).order_by(_table.c.created_at, _table.c.id).limit(limit)
    if after is not None:
        at, last = after
        query = query.where(or_(_table.c.created_at > at, (_table.c.created_at == at) & (_table.c.id > last)))
    return [_view(row) for row in conn.execute(query).mappings()]


def get_user(conn: Connection, user_id: str) -> UserView:
    """One user; raises NotFound."""
    row = conn.execute(select(*_COLUMNS).where(_table.c.id == user_id)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no enrolment user {user_id}.")
    return _view(row)


def find_user(conn: Connection, username: str) -> tuple[UserView, str] | None:
    """The user of this name with the stored password, be he enabled or not; None if there is none."""
    query = select(*_COLUMNS, _table.c.password_hash).where(_table.c.username_key == username_key(username))
    row = conn.execute(query).mappings().one_or_none()
    if row is None:
        return None
    members = dict(row)
    stored: str = members.pop("password_hash")
    return _view(members), stored


def change_user(
    conn: Connection, origin: Origin, user_id: str, *, enabled: bool, max_devices: int | None, now: datetime
) -> UserView:
    """Enable or disable a user and limit his devices; those he has enrolled stay. Raises NotFound."""
    user = get_user(conn, user_id)
    values = {"enabled": enabled, "max_devices": max_devices}
    before = {"enabled": user.enabled, "max_devices": user.max_devices}
    if values == before:
        return user
    conn.execute(update(_table).where(_table.c.id == user_id).values(**values))
    record(
        conn,
        origin,
        now=now,
        action="enrolment_user.change",
        object_type="enrolment_user",
        object_id=user_id,
        detail={"username": user.username},
        before=before,
        after=values,
    )
    return replace(user, enabled=enabled, max_devices=max_devices)


def set_password(conn: Connection, origin: Origin, user_id: str, *, password: str, now: datetime) -> UserView:
    """Give a user another password, and let him try at once if he was locked out; raises NotFound and Invalid."""
    user = get_user(conn, user_id)
    values = {"password_hash": hash_password(password), "password_set_at": now}
    conn.execute(update(_table).where(_table.c.id == user_id).values(**values))
    forget_tries(conn, name_key(username_key(user.username)))
    record(
        conn,
        origin,
        now=now,
        action="enrolment_user.password",
        object_type="enrolment_user",
        object_id=user_id,
        detail={"username": user.username},
        before={"password_set_at": user.password_set_at},
        after={"password_set_at": now},
    )
    return replace(user, password_set_at=now)


def delete_user(conn: Connection, origin: Origin, user_id: str, *, now: datetime) -> None:
    """Forget a user; the devices he has enrolled stay. Raises NotFound."""
    user = get_user(conn, user_id)
    conn.execute(delete(_table).where(_table.c.id == user_id))
    record(
        conn,
        origin,
        now=now,
        action="enrolment_user.delete",
        object_type="enrolment_user",
        object_id=user_id,
        before={
            "username": user.username,
            "max_devices": user.max_devices,
            "enabled": user.enabled,
            "created_at": user.created_at,
        },
    )


def touch_user(conn: Connection, user_id: str, *, now: datetime) -> bool:
    """Note that the user enrols a device; False if he was disabled or deleted meanwhile.

    Holds the row, so that two enrolments of one user count his devices one after the other.
    """
    noted = conn.execute(
        update(_table)
        .where(_table.c.id == user_id, _table.c.enabled)
        .values(last_used_at=now)
        .execution_options(preserve_rowcount=True)
    )
    return noted.rowcount == 1


def _view(row: Mapping[Any, Any]) -> UserView:
    return UserView(**row)
