"""Where a virtual device keeps itself: one JSON file, replaced as a whole, so that kill -9 leaves the old or the new."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from mdm.lab.windows_state import WindowsState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Account", "DeviceCertificate", "DeviceRecord", "DeviceStore", "Identity", "Link"]

_FORMAT = 3
_BEFORE = 2
"""What was written before devices had certificates; it lacks members that have a default."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device is."""

    device_id: str
    """Source LocURI of its messages and ./DevInfo/DevId: 32 hexadecimal digits, as Windows makes them."""
    name: str
    os_build: str
    """`10.0.26100.4652`."""
    manufacturer: str = "Contoso"
    model: str = "Virtual Device"
    language: str = "en-US"
    hardware_id: str = ""
    """HWDevID: 64 hexadecimal digits that stay the same through a new enrolment; empty: it has none."""


@dataclass(frozen=True, slots=True)
class Account:
    """What the device was given when it was enrolled."""

    server_uri: str
    """URL of the device endpoint, without a query."""
    scheme: str
    """`syncml:auth-md5`, `syncml:auth-basic` or `syncml:auth-MAC`."""
    username: str
    password: str = field(repr=False)
    server_scheme: str | None = None
    """How the server proves itself: `syncml:auth-md5` or `syncml:auth-MAC`; None: it need not."""
    server_username: str = ""
    server_password: str = field(default="", repr=False)
    provider_id: str = "CSPBridge"
    """Name of the management server below `./Vendor/MSFT/DMClient/Provider`."""


@dataclass(frozen=True, slots=True)
class DeviceCertificate:
    """A device's certificate and its key, as an enrolment or a renewal gave it."""

    key_pem: str = field(repr=False)
    """PKCS #8, not encrypted: the file is the owner's alone."""
    certificate_pem: str
    root_pem: str
    """The root that the enrolment put among the trusted ones."""
    intermediate_pem: str = ""
    """The authority between the two, sent along in the handshake; empty: there is none."""
    search_criteria: str = ""
    """SSLCLIENTCERTSEARCHCRITERIA: the device shows the certificate only where this finds it."""
    store: str = "User"
    """`User` or `System`: where the document put it, below My."""
    renew_days: int = 42
    """RenewPeriod: days before the end from which on it is renewed."""
    retry_days: int = 7
    """RetryInterval: days between two attempts."""
    tried_at: str = ""
    """When a renewal was last tried, as ISO 8601 has it; empty: never."""


@dataclass(frozen=True, slots=True)
class Link:
    """How a device reaches its server, where that is not what names and public authorities say."""

    enrolment_url: str = ""
    """EnrollmentServiceUrl, where a certificate is renewed; empty: it did not enrol by MS-MDE2."""
    address: str = ""
    """`HOST:PORT` to connect to in place of the one in each URL, while TLS goes on verifying the URL's name."""
    trust_pem: str = ""
    """Certificates trusted for servers, put on the machine before it enrolled; empty: the system's."""


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """Everything a device remembers."""

    identity: Identity
    account: Account
    nonce: bytes | None
    """For the next credentials; None: the server has to challenge first."""
    windows: WindowsState = WindowsState()  # noqa: RUF009 - frozen, and its mappings are never changed in place
    sessions: int = 0
    """Sessions begun: the SessionID of the next one. The first is "0", as after a boot of Windows."""
    server_nonce: bytes = b""
    """What the server's next credentials must be made with."""
    certificate: DeviceCertificate | None = None
    """None: the device was made over REST and proves itself in its messages alone."""
    provisioned: Mapping[str, str] = field(default_factory=dict)
    """What the enrolment set below `./Vendor/MSFT/DMClient/Provider/<id>/`: path to value, never changed in place."""
    link: Link = Link()

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {
            "format": _FORMAT,
            "identity": asdict(self.identity),
            "account": asdict(self.account),
            "nonce": None if self.nonce is None else self.nonce.hex(),
            "windows": self.windows.to_json(),
            "sessions": self.sessions,
            "server_nonce": self.server_nonce.hex(),
            "certificate": None if self.certificate is None else asdict(self.certificate),
            "provisioned": dict(self.provisioned),
            "link": asdict(self.link),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DeviceRecord:
        """Read what `to_json` wrote; KeyError, TypeError or ValueError if it is something else."""
        if value["format"] not in {_FORMAT, _BEFORE}:
            raise ValueError(f"format {value['format']!r} is not {_FORMAT}")
        certificate = value.get("certificate")
        return cls(
            identity=Identity(**value["identity"]),
            account=Account(**value["account"]),
            nonce=None if value["nonce"] is None else bytes.fromhex(value["nonce"]),
            windows=WindowsState.from_json(value["windows"]),
            sessions=value["sessions"],
            server_nonce=bytes.fromhex(value["server_nonce"]),
            certificate=None if certificate is None else DeviceCertificate(**certificate),
            provisioned=dict(value.get("provisioned", {})),
            link=Link(**value.get("link", {})),
        )


class DeviceStore:
    """A directory of devices; the files hold passwords and are readable by their owner only."""

    def __init__(self, directory: Path) -> None:
        """Make the directory if it is missing."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory

    def path(self, device_id: str) -> Path:
        """The file of a device."""
        return self.directory / f"{device_id}.json"

    def save(self, record: DeviceRecord) -> None:
        """Write the record durably: a new file, synced, renamed over the old one, the rename synced."""
        path = self.path(record.identity.device_id)
        temporary = path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(record.to_json(), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        directory = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def delete(self, device_id: str) -> None:
        """Forget a device, if it is there."""
        self.path(device_id).unlink(missing_ok=True)

    def load(self, device_id: str) -> DeviceRecord | None:
        """The record of a device, or None if there is none; raises ValueError for a file that is not one."""
        path = self.path(device_id)
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            return DeviceRecord.from_json(value)
        except FileNotFoundError:
            return None
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no state of a virtual device: {error}") from None
