"""`Settings`: every knob of the service, from `BRIDGE_…` variables, secret files or the command line.

Precedence: an override (command line), then the environment, then a file in `BRIDGE_SECRETS_DIR` named like
the variable (systemd credentials, container secrets), then the default. docs/configuration.md lists them.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import URL

from csp.errors import InvalidLocURI
from csp.locuri import LocURI
from mdm.enrolment.poll_schedule import PollSchedule
from mdm.storage.secrets import parse_key
from mdm.storage.urls import parse_database_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

__all__ = ["Settings", "SettingsError", "load_settings"]

_PREFIX: Final = "BRIDGE_"
_SECRETS_DIR: Final = "BRIDGE_SECRETS_DIR"
_MAX_NODE_NAME: Final = 64
_MAX_LINE: Final = 200
_PFN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,100}_[A-Za-z0-9]{13}")
_PACKAGE_SID: Final = re.compile(r"ms-app://s-1-15-2(-[0-9]{1,10}){1,15}")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_WNS: Final = ("wns_pfn", "wns_package_sid", "wns_secret")


class SettingsError(ValueError):
    """The configuration cannot be used; `problems` names each variable at fault, never with its value."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        """`problems` are sentences such as "BRIDGE_PORT must be at most 65535"."""
        super().__init__("The configuration cannot be used:\n" + "\n".join(f"  {line}" for line in problems))
        self.problems = problems


def _http_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        port_is_valid = False
    if not port_is_valid or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL that starts with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user name or password")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or fragment")
    return text.rstrip("/")


def _database_url(secret: SecretStr) -> SecretStr:
    parse_database_url(secret.get_secret_value())
    return secret


def _secret_key(secret: SecretStr) -> SecretStr:
    parse_key(secret.get_secret_value())
    return secret


def _networks(text: str) -> str:
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    for entry in entries:
        try:
            ipaddress.ip_network(entry)
        except ValueError:
            raise ValueError(
                "must be a comma-separated list of IP addresses and networks such as 10.0.0.0/8"
            ) from None
    return ",".join(entries)


def _node_name(text: str) -> str:
    try:
        LocURI((text,))
    except InvalidLocURI:
        is_name = False
    else:
        is_name = (
            text.isprintable() and text == text.strip() and "/" not in text and len(text) <= _MAX_NODE_NAME
        )
    if not is_name:
        raise ValueError(
            f"must be the name of one node: 1 to {_MAX_NODE_NAME} characters, none of them / or a control "
            "character, and no blanks around them"
        )
    return text


def _one_line(text: str) -> str:
    if not (text.isprintable() and text == text.strip() and 0 < len(text) <= _MAX_LINE):
        raise ValueError(
            f"must be one line of 1 to {_MAX_LINE} characters, none of them a control character, and no blanks around it"
        )
    return text


def _poll_schedule(text: str) -> str:
    return str(PollSchedule.parse(text))


def _package_family_name(text: str) -> str:
    if _PFN.fullmatch(text) is None:
        raise ValueError("must be a package family name such as Contoso.Bridge_8wekyb3d8bbwe")
    return text


def _issuer(text: str) -> str:
    url = _http_url(text)
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise ValueError("must be a URL that starts with https://")
    return url


def _package_sid(text: str) -> str:
    if _PACKAGE_SID.fullmatch(text) is None:
        raise ValueError("must be a package SID, which begins with ms-app://s-1-15-2-")
    return text


WebUrl = Annotated[str, AfterValidator(_http_url)]


class Settings(BaseSettings):
    """The service's settings: read once, never changed."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address to listen on; the loopback unless told otherwise."""
    port: int = Field(default=8480, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    data_dir: Path = Path("data")
    """Directory of the embedded database and of the key file; made with mode 0700 if it is missing."""
    secret_key: Annotated[SecretStr, AfterValidator(_secret_key)] | None = None
    """Key that stored secrets are encrypted with, 32 random octets in base64; without it, the key file `secret.key`."""
    database_url: Annotated[SecretStr, AfterValidator(_database_url)] | None = None
    """`postgresql://user:password@host/name`, or `sqlite:///path`; without it, SQLite in the data directory."""
    database_pool_size: int = Field(default=10, ge=1, le=100)
    """Connections to the database that one process may have open at a time."""
    upstream_url: WebUrl | None = None
    """WSUS server, or Microsoft Update, to read update metadata from; more can be added by the API."""
    upstream_proxy: WebUrl | None = None
    """HTTP proxy for calls to upstreams; without it, the one the environment names, if any."""
    upstream_ca_file: Path | None = None
    """PEM file of certificate authorities that are trusted for upstreams besides the system's."""
    upstream_xpress: bool = False
    """Whether upstreams are asked to compress their answers: less on a slow line, more CPU time for each sync."""
    public_url: WebUrl | None = None
    """URL under which devices and people reach the service, if a proxy stands before it."""
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = ""
    """Comma-separated addresses and networks whose `X-Forwarded-*` and `Client-Cert` headers are believed."""
    tls: bool = False
    """Whether the service speaks TLS itself, with a self-signed certificate unless it is given another."""
    tls_cert_file: Path | None = None
    """PEM file of the server's certificate and its intermediates; turns TLS on."""
    tls_key_file: Path | None = None
    """PEM file of the key to `BRIDGE_TLS_CERT_FILE`, not encrypted, unless that file holds it too."""
    tls_client_ca_file: Path | None = None
    """PEM file of authorities whose certificates devices may show when they connect by TLS."""
    max_sessions_per_address: int = Field(default=2000, ge=1)
    """Devices that may be in a session at a time from one address: a site behind one router."""
    eula_accept_by_token: bool = False
    """Whether an API token with the scope `eula.accept` may accept licence terms."""
    organization: Annotated[str, AfterValidator(_one_line)] | None = None
    """Name of the organisation that licence terms are accepted for; the ledger keeps it with each acceptance."""
    sync_interval_minutes: int = Field(default=120, ge=60)
    """Minutes between two reads of an upstream's catalogue, unless it has its own; an hour is the least."""
    sync_history_days: int = Field(default=90, ge=1)
    """Days that ended syncs, with their logs, are kept."""
    manage_require_update_approval: bool = True
    """Whether devices are told to install approved updates only (policy RequireUpdateApproval)."""
    provider_id: Annotated[str, AfterValidator(_node_name)] = "CSPBridge"
    """Name under which devices are enrolled with this service: their `DMClient/Provider` node, the PROVIDER-ID."""
    certificate_days: int = Field(default=365, ge=1, le=3650)
    """Days that a device's certificate is valid; Windows renews it in the last 42, or half of them if that is less."""
    poll_schedule: Annotated[str, AfterValidator(_poll_schedule)] = str(PollSchedule())
    """When enrolled devices come by themselves: count x minutes once or twice, then minutes for ever."""
    wns_pfn: Annotated[str, AfterValidator(_package_family_name)] | None = None
    """Package family name to send push notifications with; needs the next two, and without them nothing is pushed."""
    wns_package_sid: Annotated[str, AfterValidator(_package_sid)] | None = None
    """Package SID that the Windows notification service knows that package by."""
    wns_secret: SecretStr | None = Field(default=None, min_length=1)
    """Secret that the Windows notification service gave out for that package."""
    enrolment_sign_in: Literal["password", "web"] = "password"
    """How people prove who they are: `password` asked for by Windows, or `web` for the sign-in page."""
    oidc_issuer: Annotated[str, AfterValidator(_issuer)] | None = None
    """OpenID provider where people sign in, instead of at the sign-in page's own form; needs `web` and a client id."""
    oidc_client_id: Annotated[str, AfterValidator(_one_line)] | None = None
    """Client id of this service at the OpenID provider."""
    oidc_client_secret: SecretStr | None = Field(default=None, min_length=1)
    """Secret of that client, unless the provider takes it as a public one."""
    oidc_username_claim: Annotated[str, AfterValidator(_one_line)] = "preferred_username"
    """Claim of the ID token that names the user of an enrolled device."""
    enrolment_faults: Literal["standard", "printed"] = "standard"
    """How enrolment faults are spelt: as SOAP 1.2 has it, or in lower case as the samples of MS-MDE2 are printed."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """`json` lines, `console` for people, or `auto`: console on a terminal, JSON otherwise."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important message that is written."""

    @property
    def resolved_database_url(self) -> str:
        """The database's URL, password and all: SQLite in the data directory unless one is set."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        path = self.data_dir.absolute() / "bridge.sqlite3"
        return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; overrides (by field name) win over the environment, and None means "not given".

    Raises SettingsError with every problem at once.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    secrets_dir = os.environ.get(_SECRETS_DIR) or None
    if secrets_dir is not None and not Path(secrets_dir).is_dir():
        raise SettingsError((f"{_SECRETS_DIR} must name a directory",))
    try:
        settings = Settings(_secrets_dir=secrets_dir, **given)
    except ValidationError as error:
        # Not chained: pydantic's own text repeats the values.
        raise SettingsError(tuple(_problem(detail) for detail in error.errors())) from None
    problems = tuple(_incomplete(settings))
    if problems:
        raise SettingsError(problems)
    return settings


def _incomplete(settings: Settings) -> Iterator[str]:
    """What is missing beside settings that are of no use alone."""
    missing = [name for name in _WNS if getattr(settings, name) is None]
    if missing != list(_WNS):
        for name in missing:
            yield f"{_PREFIX}{name.upper()} is missing: push notifications need {_names(_WNS)}"
    if settings.oidc_issuer is not None:
        if settings.oidc_client_id is None:
            yield "BRIDGE_OIDC_CLIENT_ID is missing: BRIDGE_OIDC_ISSUER needs it"
        if settings.enrolment_sign_in != "web":
            yield "BRIDGE_ENROLMENT_SIGN_IN must be web: BRIDGE_OIDC_ISSUER needs the sign-in page"
    elif settings.oidc_client_id is not None or settings.oidc_client_secret is not None:
        yield "BRIDGE_OIDC_ISSUER is missing: without it there is nobody to be a client of"


def _names(fields: tuple[str, ...]) -> str:
    *others, last = (_PREFIX + name.upper() for name in fields)
    return f"{', '.join(others)} and {last}"


def _problem(detail: ErrorDetails) -> str:
    name = _PREFIX + str(detail["loc"][0]).upper()
    context = detail.get("ctx", {})
    match detail["type"]:
        case "int_parsing" | "int_type":
            words = "must be a whole number"
        case "greater_than_equal":
            words = f"must be at least {context['ge']}"
        case "less_than_equal":
            words = f"must be at most {context['le']}"
        case "bool_parsing" | "bool_type":
            words = "must be true or false"
        case "literal_error":
            words = f"must be one of {context['expected']}"
        case "string_too_short" | "too_short":
            words = "must not be empty"
        case "extra_forbidden":
            words = "is not a setting"
        case "value_error":
            words = str(context["error"])
        case _:
            words = f"is wrong: {detail['msg']}"
    return f"{name} {words}"
