"""HTTP to an OpenID provider: small JSON documents, bounded in size and time, no redirects followed."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import httpx2

from mdm.upstream.errors import TransportError
from mdm.upstream.transport import open_http_client

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ProviderAway", "ProviderRefuses", "ProviderTransport"]

DEADLINE: Final = 15.0
"""Seconds for one call as a whole: somebody is waiting before a page."""
_MAX_BYTES: Final = 512 * 1024
_TIMEOUT: Final = httpx2.Timeout(10.0, connect=5.0)
_OK: Final = 200


class ProviderAway(Exception):  # noqa: N818 - named for the state
    """The provider gave no answer that can be used; the text says why, and names no secret."""

    def __init__(self, why: str, *, error: str = "") -> None:
        """`error` is the provider's own name for it (RFC 6749 5.2), if it gave one."""
        super().__init__(why)
        self.error = error


class ProviderRefuses(Exception):  # noqa: N818 - named for what happened
    """The provider, or what it said, does not let somebody in; the text is for the log and names no secret."""


class ProviderTransport:
    """Gets and posts; each call has a connection of its own, because sign-ins are rare."""

    def __init__(
        self,
        *,
        open_client: Callable[[], httpx2.Client] = open_http_client,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use the operating system's certificate authorities, as every other call of the service does."""
        self._open_client = open_client
        self._monotonic = monotonic

    def get(self, url: str) -> dict[str, Any]:
        """The JSON object that stands there; raises ProviderAway."""
        return self._exchange("GET", url)

    def post(
        self, url: str, form: Mapping[str, str], *, basic: tuple[str, str] | None = None
    ) -> dict[str, Any]:
        """The JSON object that answers a form, with user name and password if given; raises ProviderAway."""
        return self._exchange("POST", url, form=form, basic=basic)

    def _exchange(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        basic: tuple[str, str] | None = None,
    ) -> dict[str, Any]:
        deadline = self._monotonic() + DEADLINE
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        try:
            with (
                self._open_client() as client,
                client.stream(
                    method,
                    url,
                    data=form,
                    headers=headers,
                    auth=None if basic is None else httpx2.BasicAuth(*basic),
                    timeout=_TIMEOUT,
                ) as response,
            ):
                body = self._read(response, deadline)
        except (httpx2.RequestError, httpx2.InvalidURL, TransportError) as problem:
            raise ProviderAway(
                f"it cannot be reached: {str(problem)[:200] or type(problem).__name__}"
            ) from None
        found = _object(body)
        if response.status_code != _OK:
            # RFC 6749 5.2 names the error; its description is the provider's own text and is left out
            error = "" if found is None else str(found.get("error", ""))[:60]
            raise ProviderAway(
                f"it answered HTTP {response.status_code}{error and f' ({error!r})'}", error=error
            )
        if found is None:
            raise ProviderAway("its answer is no JSON object")
        return found

    def _read(self, response: httpx2.Response, deadline: float) -> bytes:
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > _MAX_BYTES:
                raise ProviderAway(f"its answer has more than {_MAX_BYTES} bytes")
            if self._monotonic() > deadline:
                raise ProviderAway(f"it took more than {DEADLINE:g} s to answer")
        return bytes(body)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):  # not JSON: the caller tells that
        return None
    return found if isinstance(found, dict) else None
