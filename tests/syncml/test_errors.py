"""The error tree: what is whose fault, and which status says so."""

from __future__ import annotations

import inspect

import pytest

from syncml import errors
from syncml.errors import (
    InvalidHeader,
    LimitExceeded,
    LocalProtocolError,
    MalformedMessage,
    RemoteProtocolError,
    SyncMLError,
)
from syncml.status import StatusCode

TREE = [
    (SyncMLError, Exception),
    (LocalProtocolError, SyncMLError),
    (RemoteProtocolError, SyncMLError),
    (MalformedMessage, RemoteProtocolError),
    (LimitExceeded, RemoteProtocolError),
    (InvalidHeader, RemoteProtocolError),
]


@pytest.mark.parametrize(("error", "parent"), TREE)
def test_the_tree_is_the_one_drawn(error: type[Exception], parent: type[Exception]) -> None:
    """Each error stands below the one its drawing shows."""
    assert error.__bases__ == (parent,)
    assert error.__name__ in (errors.__doc__ or "")


def test_the_tree_is_whole() -> None:
    """The table above lists every error of the module, and the module exports them all."""
    defined = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert defined == {error.__name__ for error, _ in TREE} == set(errors.__all__)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RemoteProtocolError, StatusCode.BAD_REQUEST),
        (MalformedMessage, StatusCode.BAD_REQUEST),
        (InvalidHeader, StatusCode.BAD_REQUEST),
        (LimitExceeded, StatusCode.REQUEST_ENTITY_TOO_LARGE),
    ],
)
def test_a_fault_of_the_peer_has_a_detail_and_a_status(
    error: type[RemoteProtocolError], status: StatusCode
) -> None:
    """The sentence for the log is the exception's text; the hint is the status to answer."""
    raised = error("line 3")
    assert (raised.detail, str(raised), raised.status_hint) == ("line 3", "line 3", status)
