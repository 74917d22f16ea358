"""An OpenID provider on a socket of this process, which lets one person in, or misbehaves as it is told.

It serves its description, its keys, the authorization code flow with PKCE and client authentication; what it gives
out is checked when it comes back, as a real provider does.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote_plus, urlencode

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from mdm.clock import utc_now
from mdm.lab.app_server import AppServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from typing import Self

    from starlette.requests import Request

__all__ = ["LabProvider", "Spoiler"]

_KEY_BITS: Final = 2048
_LIFETIME: Final = 300
_TOO_MUCH: Final = 2 * 1024 * 1024
_DEEP: Final = 5000


class Spoiler(Enum):
    """One way in which the provider misbehaves."""

    DENIED = auto()
    """The person chooses Cancel."""
    WRONG_NONCE = auto()
    NO_NONCE = auto()
    WRONG_AUDIENCE = auto()
    OTHER_PARTY = auto()
    """The token is for us among others, and was given to another client (azp)."""
    WRONG_ISSUER = auto()
    EXPIRED = auto()
    NOT_YET = auto()
    """Its clock is an hour ahead."""
    OTHER_KEY = auto()
    """The token is signed by a key that is not the provider's, under the name of one that is."""
    ALG_NONE = auto()
    SHARED_SECRET = auto()
    """The token is signed by HMAC with the provider's public key as the secret."""
    NO_ID_TOKEN = auto()
    NO_TOKEN_AT_ALL = auto()
    """The token is no JWT."""
    DEEP_TOKEN = auto()
    """The token's header is nested deeper than a reader of JSON can follow."""
    NO_KEYS = auto()
    NO_USERNAME = auto()
    LONG_USERNAME = auto()
    NO_SUBJECT = auto()
    OTHER_DESCRIPTION = auto()
    """It describes another provider."""
    INSECURE_ENDPOINT = auto()
    UNREADABLE_ENDPOINT = auto()
    NOT_JSON = auto()
    TOO_MUCH = auto()
    REDIRECTS = auto()
    REFUSES_CODES = auto()
    OTHER_ISSUER_PARAMETER = auto()
    """It sends people back with the `iss` of another provider (RFC 9207)."""


_SPOILT_CLAIMS: Final[dict[Spoiler, dict[str, Any]]] = {
    Spoiler.WRONG_NONCE: {"nonce": "another"},
    Spoiler.NO_NONCE: {"nonce": None},
    Spoiler.WRONG_AUDIENCE: {"aud": "another"},
    Spoiler.WRONG_ISSUER: {"iss": "https://other.example.test"},
    Spoiler.NO_USERNAME: {"preferred_username": None},
    Spoiler.LONG_USERNAME: {"preferred_username": "u" * 201},
    Spoiler.NO_SUBJECT: {"sub": ""},
}
_SPOILT_CLOCKS: Final[dict[Spoiler | None, int]] = {Spoiler.EXPIRED: -3600, Spoiler.NOT_YET: 3600}


def _new_key() -> RSAKey:
    return RSAKey.generate_key(_KEY_BITS, {"use": "sig", "alg": "RS256"})


@cache
def _lab_key() -> RSAKey:
    """The key of every provider in this process: making one takes longer than a sign-in."""
    return _new_key()


@dataclass(frozen=True, slots=True)
class _Grant:
    """What a code stands for."""

    redirect_uri: str
    nonce: str
    challenge: str


@dataclass(slots=True)
class LabProvider:
    """A provider; use it as a context, and change its members while it runs."""

    client_id: str = "bridge"
    client_secret: str | None = "provider-canary"  # noqa: S105 - of the lab
    username: str = "user@example.test"
    subject: str = "subject-1"
    clock: Callable[[], datetime] = utc_now
    spoiler: Spoiler | None = None
    auth_method: str = "client_secret_basic"
    """The only way in which its token endpoint takes the client's secret."""
    asked: list[dict[str, str]] = field(default_factory=list)
    """The parameters of each authorization request."""
    given: list[str] = field(default_factory=list)
    """Every code and token it has given out."""
    described: int = 0
    """How often its description was read."""
    _grants: dict[str, _Grant] = field(default_factory=dict)
    _key: RSAKey = field(default_factory=_lab_key)
    _server: AppServer | None = None

    @property
    def issuer(self) -> str:
        """Its URL; raises RuntimeError unless it runs."""
        if self._server is None:
            raise RuntimeError("the provider does not run")
        return self._server.url

    def __enter__(self) -> Self:
        """Running."""
        app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._describe, methods=["GET"]),
                Route("/jwks", self._keys, methods=["GET"]),
                Route("/authorize", self._authorize, methods=["GET"]),
                Route("/token", self._token, methods=["POST"]),
            ]
        )
        self._server = AppServer(app)
        self._server.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stopped; its URL is still known, and nobody answers there."""
        if self._server is not None:
            self._server.stop()

    async def _describe(self, request: Request) -> Response:
        del request
        self.described += 1
        if self.spoiler is Spoiler.NOT_JSON:
            return Response(b"<html>Welcome</html>", media_type="text/html")
        if self.spoiler is Spoiler.TOO_MUCH:
            return Response(b" " * _TOO_MUCH, media_type="application/json")
        if self.spoiler is Spoiler.REDIRECTS:
            return RedirectResponse("/jwks")
        token_endpoint = f"{self.issuer}/token"
        if self.spoiler is Spoiler.INSECURE_ENDPOINT:
            token_endpoint = "http://192.0.2.1/token"  # noqa: S105 - a URL
        if self.spoiler is Spoiler.UNREADABLE_ENDPOINT:
            token_endpoint = "https://["  # noqa: S105 - a URL
        other = self.spoiler is Spoiler.OTHER_DESCRIPTION
        return JSONResponse(
            {
                "issuer": "https://other.example.test" if other else self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": token_endpoint,
                "jwks_uri": f"{self.issuer}/jwks",
                "response_types_supported": ["code"],
                "token_endpoint_auth_methods_supported": [self.auth_method],
            }
        )

    async def _keys(self, request: Request) -> Response:
        del request
        if self.spoiler is Spoiler.NO_KEYS:
            return JSONResponse({"keys": None})
        # beside the key that signs: one for encryption, one of a kind that nobody knows yet, and one without sense
        encrypting = {**self._key.as_dict(private=False), "use": "enc"}
        unknown, senseless = {"kty": "PQC", "kid": "new"}, {"kty": ["RSA"], "kid": []}
        keys = KeySet([self._key]).as_dict(private=False)["keys"]
        return JSONResponse({"keys": [unknown, senseless, encrypting, *keys]})

    async def _authorize(self, request: Request) -> Response:
        """Let the person in, who has nothing to do for it."""
        query = dict(request.query_params)
        self.asked.append(query)
        answer = {"state": query["state"], "iss": self.issuer}
        if self.spoiler is Spoiler.OTHER_ISSUER_PARAMETER:
            answer["iss"] = "https://other.example.test"
        if self.spoiler is Spoiler.DENIED:
            answer["error"] = "access_denied"
        else:
            code = self._remember(secrets.token_urlsafe(16))
            self._grants[code] = _Grant(query["redirect_uri"], query["nonce"], query["code_challenge"])
            answer["code"] = code
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode(answer)}", 303)

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        if not self._is_client(request, form):
            return JSONResponse({"error": "invalid_client"}, 401)
        grant = self._grants.pop(form.get("code", ""), None)
        if grant is None or not _fits(grant, form) or self.spoiler is Spoiler.REFUSES_CODES:
            return JSONResponse({"error": "invalid_grant"}, 400)
        access_token = self._remember(secrets.token_urlsafe(16))
        answer = {"access_token": access_token, "token_type": "Bearer", "expires_in": _LIFETIME}
        if self.spoiler is not Spoiler.NO_ID_TOKEN:
            answer["id_token"] = self._remember(self._id_token(grant, access_token))
        return JSONResponse(answer)

    def _is_client(self, request: Request, form: dict[str, str]) -> bool:
        """Whether the client proves that it is the one we know, in the only way that is taken."""
        if self.client_secret is None:
            return form.get("client_id") == self.client_id and "client_secret" not in form
        if self.auth_method == "client_secret_post":
            given = (form.get("client_id"), form.get("client_secret"))
        else:
            decoded = base64.b64decode(request.headers.get("authorization", "").removeprefix("Basic "))
            name, _, secret = decoded.decode().partition(":")
            given = (unquote_plus(name), unquote_plus(secret))
        return given == (self.client_id, self.client_secret)

    def _id_token(self, grant: _Grant, access_token: str) -> str:
        now = int(self.clock().timestamp()) + _SPOILT_CLOCKS.get(self.spoiler, 0)
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": self.subject,
            "aud": self.client_id,
            "iat": now,
            "exp": now + _LIFETIME,
            "nonce": grant.nonce,
            "at_hash": _base64(half),
            "preferred_username": self.username,
        }
        if self.spoiler in _SPOILT_CLAIMS:
            claims |= _SPOILT_CLAIMS[self.spoiler]
        if self.spoiler is Spoiler.OTHER_PARTY:
            claims |= {"aud": [self.client_id, "another"], "azp": "another"}
        claims = {name: value for name, value in claims.items() if value is not None}
        return self._signed(claims)

    def _signed(self, claims: dict[str, Any]) -> str:
        self._key.ensure_kid()
        kid = self._key.kid
        if self.spoiler is Spoiler.NO_TOKEN_AT_ALL:
            return "not.a.token"
        if self.spoiler is Spoiler.DEEP_TOKEN:
            return f"{_base64(b'[' * _DEEP)}.{_part(claims)}.{_base64(b'signature')}"
        if self.spoiler is Spoiler.ALG_NONE:
            return f"{_part({'alg': 'none'})}.{_part(claims)}."
        if self.spoiler is Spoiler.SHARED_SECRET:
            signed = f"{_part({'alg': 'HS256', 'kid': kid})}.{_part(claims)}"
            secret = self._key.as_pem(private=False)
            return f"{signed}.{_base64(hmac.digest(secret, signed.encode(), 'sha256'))}"
        key = _new_key() if self.spoiler is Spoiler.OTHER_KEY else self._key
        return jwt.encode({"alg": "RS256", "kid": kid}, claims, key)

    def _remember(self, secret: str) -> str:
        self.given.append(secret)
        return secret


def _fits(grant: _Grant, form: dict[str, str]) -> bool:
    """Whether who redeems the code is who asked for it (RFC 7636 4.6)."""
    challenge = _base64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
    return challenge == grant.challenge and form.get("redirect_uri") == grant.redirect_uri


def _part(members: dict[str, Any]) -> str:
    return _base64(json.dumps(members).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
