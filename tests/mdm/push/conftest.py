"""A virtual notification service and a client for it."""

from __future__ import annotations

import logging
import ssl
from io import StringIO
from typing import TYPE_CHECKING

import httpx2
import pytest
import structlog

from mdm.lab.wns import VirtualWns
from mdm.log import configure_logging
from mdm.push.wns import PushAccount

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody: to read every authority of the system costs more than a request over plain HTTP."""

ACCOUNT = PushAccount("ms-app://s-1-15-2-1-2-3", "c4nary+/=& secret")


@pytest.fixture
def wns() -> Iterator[VirtualWns]:
    """The service, listening."""
    with VirtualWns(ACCOUNT) as found:
        yield found


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    """A client without a proxy."""
    with httpx2.Client(verify=NO_TLS, trust_env=False) as found:
        yield found


@pytest.fixture
def logged() -> Iterator[StringIO]:
    """The log as JSON lines, as the service writes it when it is to tell everything."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = StringIO()
    configure_logging("json", "debug", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
