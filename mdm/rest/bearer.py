"""Bearer authentication: authlib's RFC 6750 rules over our token table, answered as problems.

authlib decides what a request's Authorization header means (scheme, token, expiry, revocation, scope). Its
error answers are OAuth2 documents whose WWW-Authenticate header lacks `scope` and names an error even when
no credentials came, which RFC 6750 section 3.1 advises against; so only its verdicts are used, and the header
is written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from authlib.oauth2 import ResourceProtector
from authlib.oauth2.rfc6749.errors import MissingAuthorizationError, UnsupportedTokenTypeError
from authlib.oauth2.rfc6750 import BearerTokenValidator, InvalidTokenError

from mdm.access.scopes import effective_scopes
from mdm.access.tokens import TokenRecord, find_token, touch_token
from mdm.errors import Forbidden, Unauthenticated, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from starlette.requests import Request

    from mdm.access.scopes import Scope
    from mdm.storage.engine import Database

__all__ = ["BearerAuth", "Principal"]

log = structlog.get_logger(__name__)

_CHALLENGE: Final = 'Bearer realm="csp-bridge"'


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose request this is."""

    actor: str
    """`client:<token name>`, as in the audit trail."""
    token_id: str


@dataclass(frozen=True, slots=True)
class _PresentedToken:
    """A stored token at one moment, with the questions authlib asks."""

    record: TokenRecord
    now: datetime

    def is_expired(self) -> bool:
        return self.record.expired(self.now)

    def is_revoked(self) -> bool:
        return self.record.revoked_at is not None

    def get_scope(self) -> str:
        return " ".join(sorted(effective_scopes(self.record.scopes)))


class _StoredTokens(BearerTokenValidator):  # type: ignore[misc] # authlib has no types
    """authlib's validator over the token table."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        super().__init__()
        self._database = database
        self._clock = clock

    def authenticate_token(self, token_string: str) -> _PresentedToken | None:
        with self._database.read() as conn:
            record = find_token(conn, token_string)
        return None if record is None else _PresentedToken(record, self._clock())


class BearerAuth:
    """Answers "who is this, and may they?" for one request; blocking, for a worker thread."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        """`clock` gives the time that expiry is judged by."""
        self._database = database
        self._protector = ResourceProtector()
        self._protector.register_token_validator(_StoredTokens(database, clock))

    def authenticate(self, request: Request, scope: Scope) -> Principal:
        """The caller, who holds `scope`; raises Unauthenticated or Forbidden with their challenge header.

        A known caller is put on `request.state` for the log before the scope is asked: a refused attempt has
        a name too.
        """
        try:
            token: _PresentedToken = self._protector.validate_request([], request)
        except (MissingAuthorizationError, UnsupportedTokenTypeError):
            raise Unauthenticated(
                "Send a token: Authorization: Bearer cspb_….", headers={"WWW-Authenticate": _CHALLENGE}
            ) from None
        except InvalidTokenError:
            raise Unauthenticated(
                "The token is unknown, expired or revoked.",
                headers={"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'},
            ) from None
        principal = Principal(f"client:{token.record.name}", token.record.id)
        request.state.actor = principal.actor
        if BearerTokenValidator.scope_insufficient(token.get_scope(), [scope.value]):
            raise Forbidden(
                f"The token lacks the scope {scope.value}.",
                scope=scope.value,
                headers={
                    "WWW-Authenticate": f'{_CHALLENGE}, error="insufficient_scope", scope="{scope.value}"'
                },
            )
        self._note_use(token)
        return principal

    def _note_use(self, token: _PresentedToken) -> None:
        if not token.record.touch_due(token.now):
            return
        try:
            with self._database.write() as conn:
                touch_token(conn, token.record.id, now=token.now)
        except Unavailable as error:
            # A full disk must not stop reads; `last_used_at` is a convenience.
            log.warning("token_use_not_noted", token_id=token.record.id, reason=error.detail)
