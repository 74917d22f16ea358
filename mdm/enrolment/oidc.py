"""Signing in at an OpenID provider: authorization code with PKCE, and an ID token that is for us and for now.

authlib and joserfc decide what a token's signature and claims mean (OpenID Connect Core 3.1.3.7); this module says
what must stand in them. Only signatures by a key of the provider's are taken, never `none` nor a shared secret.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus, urlsplit

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import get_well_known_url
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from mdm.enrolment.authentication import MAX_USERNAME
from mdm.enrolment.oidc_transport import ProviderAway, ProviderRefuses, ProviderTransport

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import SecretStr

__all__ = ["Identity", "OpenIdProvider", "ProviderAway", "ProviderRefuses"]

_SCOPE: Final = "openid profile email"
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
_BAD_CODE: Final = "invalid_grant"
_LEEWAY: Final = 60
"""Seconds that the provider's clock may be apart from ours."""
_KEPT: Final = timedelta(minutes=10)
"""How long the provider's description of itself is believed."""
_KEY_TYPES: Final = frozenset({"RSA", "EC"})
_MAX_SUBJECT: Final = 255
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is, by the provider."""

    id: str
    """The same for a person for ever, and different for each provider: a hash of issuer and subject."""
    username: str


@dataclass(frozen=True, slots=True)
class _Description:
    """What the provider says of itself (OpenID Connect Discovery 4.2)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    by_post: bool
    """Whether the token endpoint takes the client's secret in the form."""
    read_at: datetime


@dataclass(slots=True)
class OpenIdProvider:
    """One provider, of which this service is a client; safe to be used by several threads."""

    issuer: str
    """Without a slash at the end."""
    client_id: str
    client_secret: SecretStr | None
    username_claim: str
    transport: ProviderTransport = field(default_factory=ProviderTransport)
    _known: _Description | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def authorization_url(
        self, *, redirect_uri: str, state: str, nonce: str, verifier: str, login_hint: str, now: datetime
    ) -> str:
        """Where to send somebody to sign in; raises ProviderAway."""
        url: str = prepare_grant_uri(
            self._description(now).authorization_endpoint,
            self.client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=_SCOPE,
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
            login_hint=login_hint or None,
        )
        return url

    def redeem(
        self,
        code: str,
        *,
        issuer: str | None,
        redirect_uri: str,
        nonce: str,
        verifier: str,
        now: datetime,
    ) -> Identity:
        """Who has come back with this code; raises ProviderAway and ProviderRefuses.

        `issuer` is the `iss` of the redirect, if it had one (RFC 9207).
        """
        provider = self._description(now)
        if issuer is not None and issuer != provider.issuer:
            raise ProviderRefuses("the answer is of another issuer")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        basic = None
        # Providers differ in how they unescape Basic (RFC 6749 2.3.1), and agree on the form.
        if self.client_secret is None or provider.by_post:
            form["client_id"] = self.client_id
            if self.client_secret is not None:
                form["client_secret"] = self.client_secret.get_secret_value()
        else:
            basic = (quote_plus(self.client_id), quote_plus(self.client_secret.get_secret_value()))
        try:
            answer = self.transport.post(provider.token_endpoint, form, basic=basic)
        except ProviderAway as problem:
            if problem.error != _BAD_CODE:
                raise
            raise ProviderRefuses("it does not take the code, which is used, too old or made up") from None
        id_token = answer.get("id_token")
        if not isinstance(id_token, str):
            raise ProviderRefuses("it gave no ID token; the client must be allowed the scope openid")
        claims = self._claims(provider, id_token, answer.get("access_token"), nonce, now)
        return self._identity(provider, claims)

    def _claims(
        self, provider: _Description, id_token: str, access_token: Any, nonce: str, now: datetime
    ) -> dict[str, Any]:
        """The claims of a token that is signed by the provider, for us, for this sign-in, and not over."""
        keys = self.transport.get(provider.jwks_uri).get("keys")
        usable = [
            key
            for key in (keys if isinstance(keys, list) else [])
            if isinstance(key, dict) and str(key.get("kty")) in _KEY_TYPES and key.get("use", "sig") == "sig"
        ]
        options = {
            "iss": {"essential": True, "value": provider.issuer},
            "aud": {"essential": True, "value": self.client_id},
        }
        try:
            token = jwt.decode(id_token, KeySet.import_key_set({"keys": usable}), algorithms=_ALGORITHMS)
            claims = CodeIDToken(
                token.claims,
                token.header,
                options,
                {
                    "nonce": nonce,
                    "client_id": self.client_id,
                    "access_token": access_token if isinstance(access_token, str) else None,
                },
            )
            claims.validate(now=int(now.timestamp()), leeway=_LEEWAY)
        except (JoseError, ValueError, TypeError, RecursionError) as problem:
            # errors of joserfc name claims and algorithms and never their values
            why = str(problem) if isinstance(problem, JoseError) else type(problem).__name__
            raise ProviderRefuses(f"its ID token is not good: {why[:200]}") from None
        return dict(claims)

    def _identity(self, provider: _Description, claims: dict[str, Any]) -> Identity:
        subject, username = claims["sub"], claims.get(self.username_claim)
        if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT:
            raise ProviderRefuses("its ID token names nobody (sub)")
        if not isinstance(username, str) or not username.strip():
            raise ProviderRefuses(f"its ID token has no user name in the claim {self.username_claim}")
        if len(username) > MAX_USERNAME or not username.isprintable():
            raise ProviderRefuses(f"the user name in the claim {self.username_claim} cannot be used")
        who = hashlib.sha256(f"{provider.issuer}\0{subject}".encode()).hexdigest()
        return Identity(f"fed_{who[:40]}", username.strip())

    def _description(self, now: datetime) -> _Description:
        with self._lock:
            known = self._known
        if known is not None and known.read_at <= now < known.read_at + _KEPT:
            return known
        document = self.transport.get(get_well_known_url(self.issuer, external=True))
        issuer = document.get("issuer")
        if not isinstance(issuer, str) or issuer.rstrip("/") != self.issuer:
            raise ProviderAway("it says that it is another issuer than BRIDGE_OIDC_ISSUER")
        trial = issuer.startswith("http://")
        urls = {name: _endpoint(document.get(name), name, trial=trial) for name in _ENDPOINTS}
        methods = document.get("token_endpoint_auth_methods_supported")
        by_post = isinstance(methods, list) and "client_secret_post" in methods
        found = _Description(issuer=issuer, by_post=by_post, read_at=now, **urls)
        with self._lock:
            self._known = found
        return found


def _endpoint(url: Any, name: str, *, trial: bool) -> str:
    """A URL of the provider's; https, unless the provider itself is tried out on this machine."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        secure = parts is not None and (
            (parts.scheme == "https" and bool(parts.hostname))
            or (trial and parts.scheme == "http" and parts.hostname in _LOOPBACK)
        )
    except ValueError:
        secure = False
    if not secure:
        raise ProviderAway(f"its {name} is no https URL")
    return str(url)
