"""Settings: sources, precedence, and complaints."""

from __future__ import annotations

import re
import traceback
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mdm.settings import Settings, SettingsError, load_settings
from mdm.storage.urls import parse_database_url

ROOT = Path(__file__).parents[2]
ONE_LINE = (
    "must be one line of 1 to 200 characters, none of them a control character, and no blanks around it"
)
NODE_NAME = "must be the name of one node: 1 to 64 characters, none of them / or a control character, and no blanks around them"


def test_every_setting_has_a_default() -> None:
    """An empty environment is a working configuration that listens on the loopback only."""
    settings = load_settings()
    assert (settings.host, settings.port, settings.data_dir) == ("127.0.0.1", 8480, Path("data"))
    assert settings.database_url is None
    assert settings.upstream_url is None
    assert settings.public_url is None
    assert not settings.eula_accept_by_token
    assert settings.trusted_proxies == ""


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("BRIDGE_HOST", "::1", "host", "::1"),
        ("BRIDGE_PORT", "0", "port", 0),
        ("BRIDGE_DATA_DIR", "/var/lib/csp-bridge", "data_dir", Path("/var/lib/csp-bridge")),
        ("BRIDGE_UPSTREAM_URL", "http://wsus.example:8530/", "upstream_url", "http://wsus.example:8530"),
        ("BRIDGE_PUBLIC_URL", "https://mdm.example", "public_url", "https://mdm.example"),
        ("BRIDGE_EULA_ACCEPT_BY_TOKEN", "true", "eula_accept_by_token", True),
        ("BRIDGE_SYNC_INTERVAL_MINUTES", "60", "sync_interval_minutes", 60),
        ("BRIDGE_MANAGE_REQUIRE_UPDATE_APPROVAL", "0", "manage_require_update_approval", False),
        ("BRIDGE_PROVIDER_ID", "MS DM Server", "provider_id", "MS DM Server"),
        ("BRIDGE_PROVIDER_ID", "ü" * 64, "provider_id", "ü" * 64),
        ("BRIDGE_ORGANIZATION", "Jörg & Söhne", "organization", "Jörg & Söhne"),
        ("BRIDGE_ORGANIZATION", "", "organization", None),
        ("BRIDGE_POLL_SCHEDULE", "3x5,720", "poll_schedule", "3x5, 720"),
        ("BRIDGE_LOG_FORMAT", "json", "log_format", "json"),
        ("BRIDGE_LOG_LEVEL", "debug", "log_level", "debug"),
        ("BRIDGE_DATABASE_POOL_SIZE", "3", "database_pool_size", 3),
        ("BRIDGE_TRUSTED_PROXIES", "10.0.0.0/8, ::1,", "trusted_proxies", "10.0.0.0/8,::1"),
        ("BRIDGE_UPSTREAM_URL", "", "upstream_url", None),
    ],
)
def test_a_variable_sets_its_field(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: object
) -> None:
    """Each field is read from its BRIDGE_ variable; an empty variable counts as unset."""
    monkeypatch.setenv(variable, text)
    assert getattr(load_settings(), field) == value


def test_an_override_beats_the_environment_and_none_is_no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line wins, and an option that was not given changes nothing."""
    monkeypatch.setenv("BRIDGE_PORT", "1")
    monkeypatch.setenv("BRIDGE_HOST", "127.0.0.2")
    settings = load_settings(port=2, host=None)
    assert (settings.port, settings.host) == (2, "127.0.0.2")


def test_a_secret_file_is_read_and_the_environment_beats_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """BRIDGE_SECRETS_DIR holds one file a variable, its last newline not being part of the value."""
    (tmp_path / "BRIDGE_DATABASE_URL").write_text("postgresql://u:p@db.example/bridge\n")
    (tmp_path / "bridge_port").write_text("7\n")
    monkeypatch.setenv("BRIDGE_SECRETS_DIR", str(tmp_path))
    settings = load_settings()
    assert settings.resolved_database_url == "postgresql://u:p@db.example/bridge"
    assert settings.port == 7
    monkeypatch.setenv("BRIDGE_PORT", "8")
    assert load_settings().port == 8


def test_a_missing_secrets_directory_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A secrets directory that is not there is reported, not ignored."""
    monkeypatch.setenv("BRIDGE_SECRETS_DIR", str(tmp_path / "absent"))
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.problems == ("BRIDGE_SECRETS_DIR must name a directory",)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("port", "http", "must be a whole number"),
        ("port", "65536", "must be at most 65535"),
        ("port", "-1", "must be at least 0"),
        ("host", " ", None),
        ("sync_interval_minutes", "59", "must be at least 60"),
        ("eula_accept_by_token", "perhaps", "must be true or false"),
        ("enrolment_faults", "loud", "must be one of 'standard' or 'printed'"),
        ("log_format", "xml", "must be one of 'auto', 'json' or 'console'"),
        ("database_pool_size", "0", "must be at least 1"),
        ("upstream_url", "wsus.example", "must be a URL that starts with http:// or https://"),
        ("upstream_url", "ftp://wsus.example", "must be a URL that starts with http:// or https://"),
        ("upstream_url", "http://", "must be a URL that starts with http:// or https://"),
        ("upstream_url", "http://wsus.example:x", "must be a URL that starts with http:// or https://"),
        ("upstream_url", "http://u:p@wsus.example", "must not hold a user name or password"),
        ("public_url", "https://mdm.example/?a=1", "must not have a query or fragment"),
        ("public_url", "https://mdm.example/#a", "must not have a query or fragment"),
        (
            "trusted_proxies",
            "10.0.0.1,*",
            "must be a comma-separated list of IP addresses and networks such as 10.0.0.0/8",
        ),
        ("database_url", "here", "must look like sqlite:///path or postgresql://user@host/name"),
        (
            "database_url",
            "mysql://u:p@h/d",
            "names the database mysql; only sqlite and postgresql are supported",
        ),
        *(
            ("secret_key", key, "must be 32 random octets in base64")
            for key in ("", "canary", "A" * 43, b64encode(bytes(31)).decode())
        ),
        ("database_url", "sqlite://", "must name a file: the database cannot live in memory"),
        *(
            ("provider_id", name, NODE_NAME)
            for name in ("", "a/b", "..", "*", "a\tb", "a\x7f", " a", "a" * 65)
        ),
        *(("organization", name, ONE_LINE) for name in ("", "a\nb", " a", "a\x00", "a" * 201)),
        (
            "poll_schedule",
            "5x0, 480",
            "has 0 for the minutes between sessions of a set, which is from 1 to 1440",
        ),
        *(
            ("wns_pfn", name, "must be a package family name such as Contoso.Bridge_8wekyb3d8bbwe")
            for name in ("", "Contoso", "Contoso Bridge_8wekyb3d8bbwe", "Contoso_8wekyb3d8bbwe/")
        ),
        ("wns_package_sid", "s-1-15-2-1", "must be a package SID, which begins with ms-app://s-1-15-2-"),
        ("wns_secret", "", "must not be empty"),
        ("enrolment_sign_in", "card", "must be one of 'password' or 'web'"),
        ("oidc_issuer", "http://login.example", "must be a URL that starts with https://"),
        ("oidc_issuer", "login.example", "must be a URL that starts with http:// or https://"),
        ("oidc_issuer", "https://login.example/?a=1", "must not have a query or fragment"),
        ("oidc_client_id", "a\nb", ONE_LINE),
        ("oidc_client_secret", "", "must not be empty"),
        ("oidc_username_claim", "", ONE_LINE),
        ("nonsense", "1", "is not a setting"),
    ],
)
def test_a_wrong_value_is_named_in_words(field: str, value: str, words: str | None) -> None:
    """Each kind of mistake gets one sentence that starts with its variable; a name of one blank is a name."""
    if words is None:
        assert getattr(load_settings(**{field: value}), field) == value
        return
    with pytest.raises(SettingsError) as caught:
        load_settings(**{field: value})
    assert caught.value.problems == (f"BRIDGE_{field.upper()} {words}",)


def test_an_empty_override_is_refused() -> None:
    """A host of no characters would mean every address."""
    with pytest.raises(SettingsError, match="BRIDGE_HOST must not be empty"):
        load_settings(host="")


def test_an_unforeseen_kind_of_mistake_still_names_its_variable() -> None:
    """A mistake we have no words for gets pydantic's."""
    with pytest.raises(SettingsError, match="BRIDGE_DATA_DIR is wrong: "):
        load_settings(data_dir=7)


def test_all_problems_come_at_once() -> None:
    """An administrator mends everything in one go."""
    with pytest.raises(SettingsError) as caught:
        load_settings(port="x", sync_interval_minutes=1, public_url="here")
    assert len(caught.value.problems) == 3
    assert str(caught.value).count("\n  BRIDGE_") == 3


@pytest.mark.parametrize(
    "url", ["postgresql://u:c4nary@", "mysql://u:c4nary@h/d", "postgresql://u:c4nary@h:x/d"]
)
def test_a_wrong_database_url_is_not_repeated(url: str) -> None:
    """Neither the error nor its traceback shows the password of a URL that could not be used."""
    try:
        settings = load_settings(database_url=url)
    except SettingsError as error:
        shown = "".join(traceback.format_exception(error))
    else:
        shown = repr(settings) + str(settings) + repr(parse_database_url(url))
    assert "c4nary" not in shown


def test_secrets_are_not_printed() -> None:
    """The settings may be logged whole."""
    settings = load_settings(database_url="postgresql://u:c4nary@db.example/bridge")
    assert "c4nary" not in repr(settings) + str(settings) + str(settings.model_dump())
    assert "c4nary" in settings.resolved_database_url


@pytest.mark.parametrize("left_out", ["wns_pfn", "wns_package_sid", "wns_secret"])
def test_push_is_set_up_whole_or_not_at_all(left_out: str) -> None:
    """The one that is missing is named, and the secret is not."""
    given = {
        "wns_pfn": "Contoso.Bridge_8wekyb3d8bbwe",
        "wns_package_sid": "ms-app://s-1-15-2-1-2-3",
        "wns_secret": "c4nary",
    }
    settings = load_settings(**given)
    assert settings.wns_secret is not None
    assert settings.wns_secret.get_secret_value() == "c4nary"
    assert "c4nary" not in repr(settings) + str(settings.model_dump())
    with pytest.raises(SettingsError) as caught:
        load_settings(**{name: value for name, value in given.items() if name != left_out})
    (problem,) = caught.value.problems
    assert problem == (
        f"BRIDGE_{left_out.upper()} is missing: push notifications need BRIDGE_WNS_PFN, BRIDGE_WNS_PACKAGE_SID "
        "and BRIDGE_WNS_SECRET"
    )


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            {"oidc_issuer": "https://login.example", "enrolment_sign_in": "web"},
            "BRIDGE_OIDC_CLIENT_ID is missing: BRIDGE_OIDC_ISSUER needs it",
        ),
        (
            {"oidc_issuer": "https://login.example", "oidc_client_id": "bridge"},
            "BRIDGE_ENROLMENT_SIGN_IN must be web: BRIDGE_OIDC_ISSUER needs the sign-in page",
        ),
        (
            {"oidc_client_id": "bridge"},
            "BRIDGE_OIDC_ISSUER is missing: without it there is nobody to be a client of",
        ),
        (
            {"oidc_client_secret": "c4nary"},
            "BRIDGE_OIDC_ISSUER is missing: without it there is nobody to be a client of",
        ),
    ],
)
def test_an_openid_provider_is_set_up_whole_or_not_at_all(given: dict[str, str], problem: str) -> None:
    """The one that is missing is named, and the secret is not."""
    with pytest.raises(SettingsError) as caught:
        load_settings(**given)
    assert caught.value.problems == (problem,)
    whole = {"oidc_issuer": "http://localhost:8080/", "oidc_client_id": "b", "enrolment_sign_in": "web"}
    settings = load_settings(**(whole | {"oidc_client_secret": "c4nary"}))
    assert settings.oidc_issuer == "http://localhost:8080"
    assert "c4nary" not in repr(settings) + str(settings.model_dump())


def test_settings_do_not_change() -> None:
    """Settings are read once."""
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", ["plain", "with space", "100%", "what?", "a#b"])
def test_sqlite_in_the_data_directory_is_the_default_database(tmp_path: Path, name: str) -> None:
    """Without a URL the database is a file in the data directory, whatever characters its path has."""
    settings = load_settings(data_dir=tmp_path / name)
    url = parse_database_url(settings.resolved_database_url)
    assert url.database == str(tmp_path / name / "bridge.sqlite3")


def test_a_relative_data_directory_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A later change of directory does not move the database."""
    monkeypatch.chdir(tmp_path)
    assert load_settings().resolved_database_url == f"sqlite:///{tmp_path}/data/bridge.sqlite3"


def _shown(default: Any) -> str:
    if default is None or default == "":
        return "(none)"
    return str(default).lower() if isinstance(default, bool) else str(default)


def test_the_documentation_lists_every_setting_with_its_default() -> None:
    """docs/configuration.md has one row a field, in order, with the field's default and its docstring."""
    table = re.findall(
        r"^\| `(BRIDGE_\w+)` \| `?(.*?)`? \| (.*) \|$",
        (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    fields = [
        (f"BRIDGE_{name.upper()}", _shown(field.default), field.description)
        for name, field in Settings.model_fields.items()
    ]
    assert table == fields
