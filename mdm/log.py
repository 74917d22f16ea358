"""Logging, set up once per process: one JSON object a line on stdout, or coloured lines on a terminal.

Our own events (structlog) and those of the standard library, Uvicorn and every dependency leave through one
handler, so each carries the request id, loses its secrets, and cannot forge a second line.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from contextlib import AbstractContextManager

    from structlog.typing import ExcInfo, Processor

__all__ = ["UVICORN_OPTIONS", "configure_logging", "request_context"]

UVICORN_OPTIONS: Final[Mapping[str, Any]] = {"log_config": None, "access_log": False}
"""For `uvicorn.Config`: leave our set-up alone; we write a canonical line for each request ourselves."""

SECRET_WORDS: Final = frozenset(
    {
        "authorization",
        "cookie",
        "cred",
        "credentials",
        "nonce",
        "passwd",
        "password",
        "secret",
        "token",
        "verifier",
    }
)
"""A key that ends in one of these words (`auth_nonce`, `X-Token`, `nextNonce`) loses its value; `token_id` keeps it."""
REDACTED: Final = "[redacted]"
_WORD: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
"""The words of a key in snake_case, kebab-case, dotted.case or camelCase."""

_QUIET: Final = ("alembic.runtime.migration", "httpx2", "httpcore2", "asyncio")
"""They report each request or connection at INFO: noise beside our own events."""

_SHARED: Final[list[Processor]] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def configure_logging(
    log_format: Literal["auto", "json", "console"] = "auto",
    level: str = "info",
    stream: TextIO | None = None,
) -> None:
    """Send everything to `stream` (stdout unless given); calling it again replaces what was set before."""
    out = sys.stdout if stream is None else stream
    console = log_format == "console" or (log_format == "auto" and out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(_console_formatter(colors=out.isatty()) if console else _json_formatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.propagate = name != "uvicorn.access"
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def request_context(request_id: str) -> AbstractContextManager[None]:
    """Put `request_id` on every event inside the block, in this task and the threads it hands work to."""
    return structlog.contextvars.bound_contextvars(request_id=request_id)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop the values of keys named for secrets, at any depth."""
    return {key: _redacted(key, value) for key, value in event.items()}


def escape_controls(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    r"""Write CR, LF, ESC and their like as \xNN: what a peer sent must not end a line or drive a terminal."""
    return {key: _escaped(value) if isinstance(value, str) else value for key, value in event.items()}


def _json_formatter() -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redact,
            structlog.processors.format_exc_info,  # without local variables: they hold secrets
            structlog.processors.JSONRenderer(default=str),  # escapes every control character
        ],
    )


def _console_formatter(*, colors: bool) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redact,
            escape_controls,
            structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_write_traceback),
        ],
    )


def _redacted(key: str, value: Any) -> Any:
    words = _WORD.findall(key)
    if words and words[-1].lower() in SECRET_WORDS:
        return REDACTED
    if isinstance(value, dict):
        return {inner: _redacted(str(inner), content) for inner, content in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted("", content) for content in value]
    return value


def _escaped(text: str) -> str:
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def _write_traceback(out: TextIO, exc_info: ExcInfo) -> None:
    """Indent each line, so that an exception's message cannot pass for an event."""
    lines = "".join(traceback.format_exception(*exc_info)).splitlines()
    out.writelines(f"\n  | {_escaped(line)}" for line in lines)
