"""Logging: one line an event, whatever it says and wherever it comes from."""

from __future__ import annotations

import io
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import uvicorn

from mdm.log import (
    REDACTED,
    SECRET_WORDS,
    UVICORN_OPTIONS,
    configure_logging,
    escape_controls,
    request_context,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Give the process its logging back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def out() -> io.StringIO:
    """Where JSON lines are written."""
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    return stream


def events(out: io.StringIO) -> list[dict[str, Any]]:
    """What was written: every line is a JSON object."""
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_an_event_is_one_json_object_on_one_line(out: io.StringIO) -> None:
    """An event has its name, level, logger, time in UTC, and what it was given."""
    structlog.get_logger("mdm.rest").info("request", status=200, path="/readyz")
    [event] = events(out)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "request",
        "level": "info",
        "logger": "mdm.rest",
        "status": 200,
        "path": "/readyz",
    }


def test_the_standard_library_leaves_by_the_same_door(out: io.StringIO) -> None:
    """Messages of dependencies are events too, with their extras."""
    logging.getLogger("alembic").warning("upgrade %s", "0001", extra={"table": "device"})
    [event] = events(out)
    assert (event["event"], event["level"], event["logger"], event["table"]) == (
        "upgrade 0001",
        "warning",
        "alembic",
        "device",
    )


def test_positional_arguments_are_formatted(out: io.StringIO) -> None:
    """Our own loggers take %-arguments like any other."""
    structlog.get_logger("mdm").info("took %d ms", 3)
    assert events(out)[0]["event"] == "took 3 ms"


def test_uvicorns_log_is_ours_and_its_access_log_is_off(out: io.StringIO) -> None:
    """Uvicorn's own lines come as events; requests are logged by us alone."""
    uvicorn.Config("mdm.app:none", **UVICORN_OPTIONS)
    logging.getLogger("uvicorn.error").info("Application startup complete.")
    logging.getLogger("uvicorn.access").info('127.0.0.1 - "GET / HTTP/1.1" 200')
    assert [event["logger"] for event in events(out)] == ["uvicorn.error"]


def test_uvicorns_usual_handlers_are_removed(out: io.StringIO) -> None:
    """A Uvicorn that set itself up before us writes each line once, at our level."""
    logging.getLogger("uvicorn").addHandler(logging.StreamHandler(io.StringIO()))
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    configure_logging("json", stream=out)
    assert logging.getLogger("uvicorn").handlers == []
    assert logging.getLogger("uvicorn").propagate
    logging.getLogger("uvicorn.error").info("seen")
    assert [event["event"] for event in events(out)] == ["seen"]


def test_the_request_id_is_on_every_event_of_the_request(out: io.StringIO) -> None:
    """It follows the work into threads, and ends with the request."""
    log = structlog.get_logger("mdm")
    with request_context("r-1"):
        log.info("one")
        logging.getLogger("sqlalchemy").warning("two")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(copy_context().run, log.info, "three").result()
    log.info("four")
    assert [(event["event"], event.get("request_id")) for event in events(out)] == [
        ("one", "r-1"),
        ("two", "r-1"),
        ("three", "r-1"),
        ("four", None),
    ]


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize(
    "key",
    [
        *sorted(SECRET_WORDS),
        "Authorization",
        "auth_nonce",
        "api_token",
        "X-Auth-Token",
        "dm.password",
        "nextNonce",
        "APIToken",
    ],
)
def test_a_secret_is_dropped_by_its_key(log_format: Any, key: str) -> None:
    """At any depth, in our events and in those of dependencies."""
    out = io.StringIO()
    configure_logging(log_format, stream=out)
    log = structlog.get_logger("mdm")
    log.info("flat", **{key: "c4nary"})
    log.info("deep", headers={"a": [{key: "c4nary"}, ({key: b"c4nary"},)]})
    logging.getLogger("other").warning("foreign", extra={key: "c4nary"})
    assert "c4nary" not in out.getvalue()
    assert out.getvalue().count(REDACTED) == 4


def test_what_only_sounds_secret_stays(out: io.StringIO) -> None:
    """Ids and names of tokens are for the audit, and text is not searched for words."""
    fields = {
        "token_id": "t1",
        "token_name": "it",
        "nonces": 2,
        "note": "the password was wrong",
        "list": [1, "a"],
    }
    structlog.get_logger("mdm").info("token", **fields)
    [event] = events(out)
    assert {name: event[name] for name in fields} == fields


NASTY = "a\r\nb\x1b[31m\x00\x85\u2028\u202ec"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_value_can_end_a_line_or_drive_a_terminal(log_format: Any) -> None:
    """Control characters from a peer are escaped, in names, values and nested values."""
    out = io.StringIO()
    configure_logging(log_format, stream=out)
    structlog.get_logger("mdm").info(NASTY, value=NASTY, nested={"k": [NASTY]})
    logging.getLogger("other").warning(NASTY)
    text = out.getvalue()
    assert text.count("\n") == 2
    assert text.replace("\n", "").isprintable()
    assert text.isascii()


def test_half_a_character_is_escaped() -> None:
    """A lone surrogate cannot be encoded: written as it is, it would lose the whole line."""
    assert escape_controls(None, "info", {"event": "a\ud800", "n": 1}) == {"event": "a\\ud800", "n": 1}


def test_json_keeps_the_value_itself(out: io.StringIO) -> None:
    """Escaping belongs to the notation; a reader of the JSON gets what was sent."""
    structlog.get_logger("mdm").info("x", value=NASTY)
    assert events(out)[0]["value"] == NASTY


def _fail() -> None:
    local_secret = "c4nary"
    raise ValueError(f"wrong\ninput {len(local_secret)}")


def test_an_exception_stays_in_its_event(out: io.StringIO) -> None:
    """The traceback is one member, without the values of local variables."""
    try:
        _fail()
    except ValueError:
        structlog.get_logger("mdm").exception("failed")
        logging.getLogger("other").exception("failed too")
    first, second = events(out)
    assert first["exception"].endswith("ValueError: wrong\ninput 6")
    assert "ValueError" in second["exception"]
    assert "c4nary" not in out.getvalue().replace('local_secret = \\"c4nary\\"', "")


def test_an_exceptions_message_cannot_pass_for_an_event_on_a_terminal() -> None:
    """Every line of a traceback is marked, and its control characters are escaped."""
    out = io.StringIO()
    configure_logging("console", stream=out)
    try:
        raise ValueError("x\n2026-11-21 [info] all is well\x1b[2J")  # noqa: TRY301 - it has to be caught here
    except ValueError:
        structlog.get_logger("mdm").exception("failed")
    first, *others = out.getvalue().splitlines()
    assert "failed" in first
    assert len(others) > 3
    assert all(line.startswith("  | ") for line in others)
    assert "\x1b" not in out.getvalue()


def test_values_without_a_json_form_are_written_as_text(out: io.StringIO, now: Any) -> None:
    """Logging never fails for what it is given."""
    structlog.get_logger("mdm").info("x", at=now, kind=ValueError, raw=b"\x00")
    [event] = events(out)
    assert event["at"] == "2026-11-21 12:00:00+00:00"
    assert event["raw"] == "b'\\x00'"


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"),
    [
        ("auto", io.StringIO, True),
        ("auto", Terminal, False),
        ("json", Terminal, True),
        ("console", io.StringIO, False),
    ],
)
def test_the_format_follows_the_stream_unless_told(log_format: Any, stream: type, is_json: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """People get lines, machines get JSON; colours go to a terminal only."""
    out = stream()
    configure_logging(log_format, stream=out)
    structlog.get_logger("mdm").info("hello", n=1)
    assert out.getvalue().startswith("{") is is_json
    assert ("\x1b[" in out.getvalue()) is (not is_json and stream is Terminal)


@pytest.mark.parametrize(("level", "seen"), [("debug", 3), ("info", 2), ("warning", 1)])
def test_the_level_bounds_ours_and_others(level: str, seen: int) -> None:
    """Below the level nothing is written; a chatty HTTP client is held to warnings."""
    out = io.StringIO()
    configure_logging("json", level, out)
    log = structlog.get_logger("mdm")
    log.debug("d")
    log.info("i")
    logging.getLogger("other").warning("w")
    logging.getLogger("httpx2").info("HTTP Request")
    assert len(events(out)) == seen


def test_stdout_is_the_default_and_a_second_call_replaces_the_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """However often it is set up, an event is written once."""
    before = io.StringIO()
    configure_logging("json", stream=before)
    configure_logging("json")
    logging.getLogger("other").warning("once")
    assert before.getvalue() == ""
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == ["once"]
