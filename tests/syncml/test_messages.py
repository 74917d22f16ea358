"""The message types: immutable values without a dictionary, with the defaults of the wire."""

from __future__ import annotations

import inspect
import typing
from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest

from syncml import messages
from syncml.messages import (
    Add,
    Alert,
    Chal,
    Command,
    Copy,
    Cred,
    Delete,
    Exec,
    Extension,
    Get,
    Item,
    Location,
    Message,
    Meta,
    Replace,
    Results,
    Status,
    SyncHdr,
    Unknown,
)

TYPES = [
    value
    for value in vars(messages).values()
    if inspect.isclass(value) and value.__module__ == messages.__name__
]


@pytest.mark.parametrize("type_", TYPES)
def test_a_type_is_a_frozen_slotted_dataclass(type_: type) -> None:
    """No field can be set or added after the value was made."""
    assert is_dataclass(type_)
    assert [*type_.__slots__] == [field.name for field in fields(type_)]  # type: ignore[attr-defined]
    with pytest.raises(FrozenInstanceError):
        setattr(object.__new__(type_), fields(type_)[0].name, "x")


def test_all_types_are_exported() -> None:
    """The public names are the types and the union of commands."""
    assert {*messages.__all__} == {type_.__name__ for type_ in TYPES} | {"Command"}


def test_a_command_is_any_of_eleven_or_unknown() -> None:
    """The commands of OMA DM 1.2, the two answers, and what is none of them."""
    names = {type_.__name__ for type_ in typing.get_args(Command)}
    assert names == set(
        "Add Alert Atomic Copy Delete Exec Get Replace Results Sequence Status Unknown".split()  # noqa: SIM905 - reads as the list it is
    )


def test_the_defaults_leave_everything_optional_out() -> None:
    """A value made with what the protocol demands has nothing else."""
    assert Item() == Item(None, None, None, None, more_data=False, extra=())
    assert Meta() == Meta(None, None, None, None, None, None, None, ())
    assert Location("./a") == Location("./a", None, ())
    assert Cred("x").meta == Chal(Meta()).meta == Meta()
    assert Extension("A") == Extension("A", "", "", (), ())
    assert Unknown("A") == Unknown("A", "", "")
    assert Alert("1", "1222") == Alert("1", "1222", (), None, no_resp=False, extra=())
    for verb in (Add, Copy, Delete, Get, Replace):
        assert verb("1", ()) == verb("1", (), None, no_resp=False, extra=())
    assert Exec("1", ()).correlator is None
    status = Status("1", "2", "3", "Get", "200")
    assert status == Status("1", "2", "3", "Get", "200", (), (), None, None, (), None, ())
    assert Results("1", "2", "3", ()) == Results("1", "2", "3", (), None, None, None, None, ())


def test_a_header_speaks_dm_1_2_and_a_message_is_final() -> None:
    """What most messages say need not be said."""
    header = SyncHdr("1", "1", Location("t"), Location("s"))
    assert (header.ver_dtd, header.ver_proto) == ("1.2", "DM/1.2")
    assert Message(header, ()).final


def test_messages_are_values() -> None:
    """Equal content is equal and hashes alike, so a message can be a key."""
    assert (
        len(
            {Message(SyncHdr("1", "1", Location(""), Location("")), (Get("1", (Item(),)),)) for _ in range(2)}
        )
        == 1
    )
