"""How virtual devices speak."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields

import pytest

from mdm.lab.manners import MESSAGE_SIZE, UNENROL_ALERT, Manners, alert, manners_of, terms_of
from syncml.alerts import AlertCode


def test_manners_are_the_same_each_time() -> None:
    """They follow from seed and number, and differ from one to the other."""
    assert manners_of(1, 3) == manners_of(1, 3)
    assert len({repr(manners_of(1, number)) for number in range(50)}) > 40
    assert {manners_of(1, number) for number in range(20)} != {manners_of(2, number) for number in range(20)}


def test_a_fleet_has_all_of_them() -> None:
    """Among two hundred devices each manner has each of its forms, and so have the terms."""
    fleet = [manners_of(7, number) for number in range(200)]
    for field in fields(Manners):
        assert len({getattr(manners, field.name) for manners in fleet}) > 1, field.name
    assert {manners.login_status for manners in fleet} == {"user", "others", "none"}
    terms = Counter(terms_of(7, number) for number in range(200))
    assert {each.auth for each in terms} == {"syncml:auth-basic", "syncml:auth-md5", "syncml:auth-MAC"}
    assert {each.server_auth for each in terms} == {None, "syncml:auth-md5", "syncml:auth-MAC"}
    assert len(terms) == 18, "each way to prove each other is somebody's"


def test_there_is_room_for_commands() -> None:
    """A device that names a size keeps to it, envelope included; others have a large one of their own."""
    assert Manners().room == MESSAGE_SIZE
    assert 0 < Manners(message_size=4_096).room < 4_096


@pytest.mark.parametrize("wrong", [{"message_size": 100}, {"longest_value": 0}])
def test_sizes_nothing_fits_into_are_refused(wrong: dict[str, int]) -> None:
    """Better than a device that says nothing for ever."""
    with pytest.raises(ValueError, match=r"room|character"):
        Manners(**wrong)  # type: ignore[arg-type]


def test_an_alert_has_its_type_and_data() -> None:
    """As in a capture: Type, Format, Data."""
    made = alert(AlertCode.CLIENT_EVENT, "type", "data")
    assert (made.data, made.items[0].data) == ("1224", "data")
    meta = UNENROL_ALERT.items[0].meta
    assert meta is not None
    assert (UNENROL_ALERT.data, meta.type, meta.format) == (
        "1226", "com.microsoft:mdm.unenrollment.userrequest", "int",
    )  # fmt: skip
