"""A downstream server's view of one upstream: the calls of MS-WSUSSS 3.2.4, and what keeps them going.

One client serves one sync run. It authenticates when first needed, renews the cookie shortly before it
expires, and starts again from GetAuthConfig once, if the upstream says that a cookie is no longer good. Other
faults are the caller's; ServerChanged in particular means that the caller must forget its anchors.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urljoin

from mdm.upstream import answers, requests
from mdm.upstream.batches import BatchResult, fetch_in_batches
from mdm.upstream.errors import ContentMismatch, InvalidAnswer, SoapFault
from mdm.upstream.transport import Patience, Transport, origin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import httpx2

    from mdm.upstream.messages import (
        AuthConfig,
        AuthorizationCookie,
        ConfigData,
        Cookie,
        DecryptionKey,
        DeploymentResult,
        DriverFilter,
        DriverIdList,
        DriverSet,
        RevisionFilter,
        RevisionIdList,
        UpdateData,
        UpdateIdentity,
    )
    from mdm.upstream.requests import SoapRequest
    from mdm.upstream.transport import Reader

__all__ = ["COOKIE_FAULTS", "UpstreamClient"]

COOKIE_FAULTS: Final = frozenset({"InvalidCookie", "InvalidAuthorizationCookie", "CookieExpired"})
"""Faults cured by authenticating again; the last belongs to the client protocol, but costs nothing to know."""

_PLUGIN: Final = "DssTargeting"
_RENEW_BEFORE: Final = timedelta(minutes=2)
_SMALL: Final = 1024 * 1024
_TOO_MANY: Final = "TooManyIds"

T = TypeVar("T")


class UpstreamClient:
    """Calls one upstream in the name of one account; not for use by two threads at once."""

    def __init__(
        self,
        base_url: str,
        account_name: str,
        account_guid: str,
        http: httpx2.Client,
        *,
        now: Callable[[], datetime],
        patience: Patience | None = None,
        xpress: bool = False,
    ) -> None:
        """`base_url` is scheme, host and port; `now` tells when the cookie is due for renewal.

        With `xpress`, answers are asked for compressed: fewer bytes on the line, more CPU time here.
        Raises InvalidAnswer if the URL is not http or https.
        """
        self.base_url = base_url.rstrip("/")
        self._account_name = account_name
        self._account_guid = account_guid
        self._now = now
        self._transport = Transport(http, patience or Patience(), xpress=xpress)
        self._cookie: Cookie | None = None
        self._renew_at: datetime | None = None
        self._restarts = 1
        origin_of(self.base_url)

    @property
    def bytes_received(self) -> int:
        """Body bytes received so far, as they came over the line."""
        return self._transport.bytes_received

    def watch(self, before_attempt: Callable[[], None]) -> None:
        """Have `before_attempt` run before each HTTP attempt; what it raises ends the call and is passed on."""
        self._transport.before_attempt = before_attempt

    # --- authentication ---------------------------------------------------------------------------------

    def get_auth_config(self) -> AuthConfig:
        """Ask how to authenticate (MS-WSUSSS 3.1.4.1)."""
        return answers.read_auth_config(self._post(requests.SYNC_PATH, requests.get_auth_config(), _SMALL))

    def get_authorization_cookie(self, config: AuthConfig) -> AuthorizationCookie:
        """Introduce ourselves to the auth service (MS-WSUSSS 3.1.4.2).

        Raises InvalidAnswer if the service is not DssTargeting or not on the upstream's own origin.
        """
        plugin = next((each for each in config.plugins if each.plugin_id == _PLUGIN), None)
        if plugin is None:
            raise InvalidAnswer(f"the upstream offers no authentication by {_PLUGIN}")
        try:
            url = urljoin(f"{self.base_url}/", plugin.service_url)
        except ValueError as problem:
            raise InvalidAnswer(
                "the URL of the upstream's authentication service cannot be read"
            ) from problem
        if origin_of(url) != origin_of(self.base_url):
            raise InvalidAnswer("the upstream's authentication service is not on the upstream itself")
        request = requests.get_authorization_cookie(self._account_name, self._account_guid)
        return answers.read_authorization_cookie(self._transport.post(url, request, max_bytes=_SMALL))

    def get_cookie(self, authorization: AuthorizationCookie, old_cookie: Cookie | None = None) -> Cookie:
        """Exchange the authorization for the cookie of all later calls (MS-WSUSSS 3.1.4.3)."""
        request = requests.get_cookie(authorization, old_cookie)
        return answers.read_cookie(self._post(requests.SYNC_PATH, request, _SMALL))

    def authenticate(self) -> Cookie:
        """Return a cookie that is good now, asking for one if need be."""
        return self._once_more(self._good_cookie)

    def _good_cookie(self) -> Cookie:
        if self._cookie is None or (self._renew_at is not None and self._now() >= self._renew_at):
            # the authorization cookie is asked for anew as well: it is good for no longer than the cookie was
            authorization = self.get_authorization_cookie(self.get_auth_config())
            self._cookie = self.get_cookie(authorization, self._cookie)
            self._renew_at = self._renewal(self._cookie)
        return self._cookie

    def _renewal(self, cookie: Cookie) -> datetime | None:
        """When to renew; None if the text is no time, or past already, as our clock may be the wrong one."""
        try:
            expires = datetime.fromisoformat(cookie.expiration)
            renew_at = (expires if expires.tzinfo else expires.replace(tzinfo=UTC)) - _RENEW_BEFORE
        except (ValueError, OverflowError):
            return None
        return renew_at if renew_at > self._now() else None

    def _once_more(self, attempt: Callable[[], T]) -> T:
        """Run `attempt`; once per client, forget the cookie and run it again if a cookie is no longer good."""
        try:
            return attempt()
        except SoapFault as fault:
            if fault.error_code not in COOKIE_FAULTS or self._restarts == 0:
                raise
            self._restarts -= 1
            self._cookie = self._renew_at = None
            return attempt()

    # --- the catalogue ----------------------------------------------------------------------------------

    def get_config_data(self, config_anchor: str | None = None) -> ConfigData:
        """Ask for the upstream's limits (MS-WSUSSS 3.1.4.4)."""
        return self._call(
            lambda cookie: requests.get_config_data(cookie, config_anchor), answers.read_config_data, _SMALL
        )

    def get_revision_id_list(self, revision_filter: RevisionFilter) -> RevisionIdList:
        """Ask which revisions there are, or are new since the filter's anchor (MS-WSUSSS 3.1.4.5)."""
        return self._stream(
            lambda cookie: requests.get_revision_id_list(cookie, revision_filter),
            answers.open_revision_id_list_reader,
            answers.LIST_LIMITS.bytes,
        )

    def get_update_data(self, identities: Sequence[UpdateIdentity]) -> UpdateData:
        """Ask for metadata (MS-WSUSSS 3.1.4.6); one unknown revision fails the whole call."""
        return self._stream(
            lambda cookie: requests.get_update_data(cookie, identities),
            answers.open_update_data_reader,
            answers.UPDATE_LIMITS.bytes,
            retry_timeouts=len(identities) == 1,
        )

    def get_update_data_resilient(
        self, identities: Sequence[UpdateIdentity], batch_size: int, *, breaker: int | None = None
    ) -> Iterator[BatchResult]:
        """Ask for any number of revisions, whatever single ones do to a call; see `fetch_in_batches`."""
        return fetch_in_batches(self.get_update_data, identities, batch_size, breaker=breaker)

    def get_related_revisions(self, update_id: str) -> tuple[UpdateIdentity, ...]:
        """Ask for an update's current revisions (MS-WSUSSS 3.1.4.9).

        The specification calls it unused, Microsoft Update answers it; expect faults.
        """
        return self._call(
            lambda cookie: requests.get_related_revisions(cookie, (update_id,)),
            answers.read_related_revisions,
            _SMALL,
        )

    def get_driver_id_list(self, driver_filter: DriverFilter) -> DriverIdList:
        """Ask which drivers there are for some hardware (MS-WSUSSS 3.1.4.7); Microsoft Update only.

        Of several calls with parts of the ids all carry the same anchor, and the first answer's is the one to keep.
        """
        return self._stream(
            lambda cookie: requests.get_driver_id_list(cookie, driver_filter),
            answers.open_driver_id_list_reader,
            answers.LIST_LIMITS.bytes,
        )

    def get_driver_set_data(self, driver_sets: Sequence[str]) -> tuple[DriverSet, ...]:
        """Ask for driver sets (MS-WSUSSS 3.1.4.8), in halves while the upstream says TooManyIds."""
        try:
            return self._call(
                lambda cookie: requests.get_driver_set_data(cookie, driver_sets),
                answers.read_driver_set_data,
                answers.LIST_LIMITS.bytes,
            )
        except SoapFault as fault:
            middle = len(driver_sets) // 2
            if fault.error_code != _TOO_MANY or middle == 0:
                raise
            return self.get_driver_set_data(driver_sets[:middle]) + self.get_driver_set_data(
                driver_sets[middle:]
            )

    def get_update_decryption_data(self, identities: Sequence[UpdateIdentity]) -> tuple[DecryptionKey, ...]:
        """Ask for the keys of encrypted files (MS-WSUSSS 3.1.4.12)."""
        return self._call(
            lambda cookie: requests.get_update_decryption_data(cookie, identities),
            answers.read_update_decryption_data,
            answers.LIST_LIMITS.bytes,
        )

    def get_deployments(self, sync_anchor: str, deployment_anchor: str | None = None) -> DeploymentResult:
        """Ask what the upstream's administrators decided (MS-WSUSSS 3.1.4.10); for replicas."""
        return self._call(
            lambda cookie: requests.get_deployments(cookie, sync_anchor, deployment_anchor),
            answers.read_deployments,
            answers.LIST_LIMITS.bytes,
        )

    # --- content ----------------------------------------------------------------------------------------

    def download_files(self, digests: Sequence[str]) -> None:
        """Have the upstream fetch files it does not hold yet (MS-WSUSSS 3.1.4.11); their URLs work some time later.

        One digest at a time, as Windows does; raises SoapFault FileDigestsMissing for one it does not know.
        """
        for digest in digests:
            build = partial(requests.download_files, digests=(digest,))
            self._call(build, answers.read_download_files, _SMALL)

    def content_url(self, sha1: str, file_name: str) -> str | None:
        """Return where the upstream itself keeps a file (MS-WSUSSS 2.1): `/Content/<XX>/<SHA1><extension>`.

        XX are the last two hex digits. None if `sha1` is not base64.
        """
        try:
            digest = base64.b64decode(sha1, validate=True).hex().upper()
        except (binascii.Error, ValueError):
            return None
        return f"{self.base_url}/Content/{digest[-2:]}/{digest}{PurePosixPath(file_name).suffix}"

    def download(self, url: str, *, sha1: str, sha256: str | None, max_bytes: int) -> bytes:
        """Return a file after checking its digests (base64), SHA-256 as well where one is known.

        Raises ContentMismatch, InvalidAnswer for a URL that is not http or https, AnswerTooLarge,
        TransportError.
        """
        origin_of(url)
        data = self._transport.get(url, max_bytes=max_bytes)
        # SHA-1 is what the protocol identifies files by (MS-WSUSSS 3.1.1); SHA-256 is what protects them
        if not _is_digest(hashlib.sha1(data, usedforsecurity=False).digest(), sha1):
            raise ContentMismatch("the file's SHA-1 is not the one in the metadata")
        if sha256 is not None and not _is_digest(hashlib.sha256(data).digest(), sha256):
            raise ContentMismatch("the file's SHA-256 is not the one in the metadata")
        return data

    # --- calls ------------------------------------------------------------------------------------------

    def _post(self, path: str, request: SoapRequest, max_bytes: int) -> bytes:
        return self._transport.post(f"{self.base_url}{path}", request, max_bytes=max_bytes)

    def _call(
        self,
        build: Callable[[Cookie], SoapRequest],
        read: Callable[[bytes], T],
        max_bytes: int,
    ) -> T:
        """Post with a good cookie and read the answer."""

        def attempt() -> T:
            request = build(self._good_cookie())
            return read(self._post(requests.SYNC_PATH, request, max_bytes))

        return self._once_more(attempt)

    def _stream(
        self,
        build: Callable[[Cookie], SoapRequest],
        open_reader: Callable[[], Reader[T]],
        max_bytes: int,
        *,
        retry_timeouts: bool = True,
    ) -> T:
        """Post with a good cookie and read the answer while it arrives."""
        url = f"{self.base_url}{requests.SYNC_PATH}"

        def attempt() -> T:
            request = build(self._good_cookie())
            return self._transport.post_for(
                url, request, open_reader, max_bytes=max_bytes, retry_timeouts=retry_timeouts
            )

        return self._once_more(attempt)


def _is_digest(digest: bytes, expected: str) -> bool:
    return hmac.compare_digest(base64.b64encode(digest), expected.strip().encode())
