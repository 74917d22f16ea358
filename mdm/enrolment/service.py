"""Enrolment as a service of bytes: each message of MS-MDE2 in, its answer or a SOAP fault out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from mdm.audit import Origin
from mdm.ca.csr import read_csr
from mdm.ca.errors import CaError, RefusedRequest
from mdm.ca.renewal import RenewalPeriod
from mdm.enrolment.authentication import Refused, authenticate
from mdm.enrolment.discovery import DISCOVER, read_discover, write_discover_response
from mdm.enrolment.envelope import MessageUnreadable, UsernameToken, read_envelope
from mdm.enrolment.faults import EnrolmentFault, Spelling, Subcode, unreadable, write_fault
from mdm.enrolment.joining import join
from mdm.enrolment.policy import GET_POLICIES, read_get_policies, write_get_policies_response
from mdm.enrolment.poll_schedule import PollSchedule
from mdm.enrolment.provisioning import Account, Certificate, enrolment_document, renewal_document
from mdm.enrolment.renewal import by_certificate, renew, require_shown
from mdm.enrolment.wstep import RST, RequestKind, read_token_request, write_token_response
from mdm.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

    from mdm.enrolment.envelope import Envelope
    from mdm.enrolment.issuer import CertificateIssuer
    from mdm.enrolment.wstep import TokenRequest
    from mdm.storage.engine import Database
    from mdm.storage.secrets import SecretBox

__all__ = ["DISCOVERY_PATH", "ENROLMENT_PATH", "POLICY_PATH", "SIGN_IN_PATH", "Asked", "EnrolmentService"]

DISCOVERY_PATH: Final = "/EnrollmentServer/Discovery.svc"
"""Windows knows this path and no other."""
POLICY_PATH: Final = "/EnrollmentServer/Policy.svc"
ENROLMENT_PATH: Final = "/EnrollmentServer/Enrollment.svc"
SIGN_IN_PATH: Final = "/EnrollmentServer/Authenticate"

_log: Final = structlog.get_logger("mdm.enrolment")

_NAME: Final = "CSP Bridge"


@dataclass(frozen=True, slots=True)
class Asked:
    """A message with what the transport knows of it."""

    body: bytes = field(repr=False)
    """It may hold a password."""
    base_url: str
    """The URL under which devices reach this service, without a slash at the end."""
    remote_addr: str
    private: bool
    """Whether nobody on the way can read it."""
    request_id: str
    certificate: bytes | None = None
    """The client certificate (DER) that the connection was opened with: its key was there, and that is all."""


@dataclass(frozen=True, slots=True)
class EnrolmentService:
    """Answers the three messages; safe to be used by several threads."""

    database: Database
    secrets: SecretBox
    issuer: Callable[[Connection], CertificateIssuer]
    """The certificate authority; raises `mdm.ca.errors.CaError` where there is none yet."""
    provider_id: str
    certificate_lifetime: timedelta
    name: str = _NAME
    """Who manages the device, for people."""
    poll: PollSchedule = field(default_factory=PollSchedule)
    web_sign_in: bool = False
    """Whether devices that can show a page are sent to the one of `mdm.enrolment.sign_in_routes`."""
    spelling: Spelling = Spelling.STANDARD

    @property
    def renewal(self) -> RenewalPeriod:
        """When the certificates that are issued now are renewed."""
        return RenewalPeriod.of(self.certificate_lifetime)

    def discover(self, asked: Asked, now: datetime) -> bytes:
        """Answer Discover."""
        return self._answer(asked, now, DISCOVER, self._discover)

    def get_policies(self, asked: Asked, now: datetime) -> bytes:
        """Answer GetPolicies."""
        return self._answer(asked, now, GET_POLICIES, self._get_policies)

    def request_token(self, asked: Asked, now: datetime) -> bytes:
        """Answer RequestSecurityToken."""
        return self._answer(asked, now, RST, self._request_token)

    def _answer(
        self,
        asked: Asked,
        now: datetime,
        action: str,
        handle: Callable[[Asked, Envelope, datetime], bytes],
    ) -> bytes:
        """Read, handle, and turn whatever is refused into a fault that relates to the message."""
        relates_to: str | None = None
        try:
            envelope = read_envelope(asked.body, action)
            relates_to = envelope.message_id
            return handle(asked, envelope, now)
        except MessageUnreadable as problem:
            fault = unreadable(problem)
        except EnrolmentFault as refused:
            fault = refused
        except RefusedRequest as refused:
            fault = EnrolmentFault(Subcode.CERTIFICATE_REQUEST, refused.detail)
        except CaError as problem:
            fault = EnrolmentFault(
                Subcode.ENROLLMENT_SERVER, f"No certificate can be issued. {problem.detail}"
            )
        except Unavailable as problem:
            fault = EnrolmentFault(Subcode.ENROLLMENT_SERVER, f"{problem.detail} Try again later.")
        except Exception:  # noqa: BLE001 - the protocol has a fault for what nobody foresaw
            _log.exception("enrolment_failed", step=action.rpartition("/")[2], request_id=asked.request_id)
            fault = EnrolmentFault(
                Subcode.INTERNAL_SERVICE_FAULT,
                f"The server has failed. Its log says why, beside the request id {asked.request_id}.",
            )
        _log.warning(
            "enrolment_refused",
            step=action.rpartition("/")[2],
            subcode=fault.subcode.value[1],
            error=fault.error,
            why=fault.why if isinstance(fault, Refused) else fault.text,
            remote_addr=asked.remote_addr,
        )
        return write_fault(fault, relates_to=relates_to, trace_id=asked.request_id, spelling=self.spelling)

    def _discover(self, asked: Asked, envelope: Envelope, now: datetime) -> bytes:
        del now
        return write_discover_response(
            read_discover(envelope),
            relates_to=envelope.message_id,
            activity_id=asked.request_id,
            policy_url=asked.base_url + POLICY_PATH,
            enrolment_url=asked.base_url + ENROLMENT_PATH,
            sign_in_url=asked.base_url + SIGN_IN_PATH if self.web_sign_in else None,
        )

    def _get_policies(self, asked: Asked, envelope: Envelope, now: datetime) -> bytes:
        read_get_policies(envelope)
        if not self._renews(asked, envelope, now):
            _require_private(asked)
            authenticate(self.database, envelope.token, remote_addr=asked.remote_addr, now=now)
        return write_get_policies_response(
            relates_to=envelope.message_id, validity=self.certificate_lifetime, renewal=self.renewal.window
        )

    def _request_token(self, asked: Asked, envelope: Envelope, now: datetime) -> bytes:
        request = read_token_request(envelope)
        if request.kind is RequestKind.RENEW:
            return self._renew(asked, envelope, request, now)
        _require_private(asked)
        enroller = authenticate(self.database, envelope.token, remote_addr=asked.remote_addr, now=now)
        public_key = read_csr(request.request).public_key_der
        origin = Origin(
            actor=f"enrolment:{enroller.username}", request_id=asked.request_id, remote_addr=asked.remote_addr
        )
        with self.database.write() as conn:
            issuer = self.issuer(conn)
            joined = join(
                conn,
                origin,
                self.secrets,
                issuer,
                enroller=enroller,
                request=request,
                public_key=public_key,
                now=now,
                poll_schedule=str(self.poll),
            )
        _log.info(
            "device_enrolled",
            device=joined.id,
            again=joined.again,
            user=enroller.username,
            by_id=enroller.id,
            certificate=joined.certificate.thumbprint_sha1,
            remote_addr=asked.remote_addr,
        )
        intermediate = issuer.intermediate_der
        document = enrolment_document(
            root=_certificate(issuer.root_der),
            intermediate=None if intermediate is None else _certificate(intermediate),
            client=_certificate(joined.certificate.der),
            subject=joined.certificate.subject,
            user_store=request.claims.full,
            account=Account(
                address=f"{asked.base_url}/omadm",
                provider_id=self.provider_id,
                name=self.name,
                credentials=joined.credentials,
                user=enroller.username,
                device_name=joined.name,
                device_id=joined.id,
            ),
            poll=self.poll,
            renewal=self.renewal,
        )
        return write_token_response(document, relates_to=envelope.message_id, now=now)

    def _renews(self, asked: Asked, envelope: Envelope, now: datetime) -> bool:
        """Whether a device asks that is proved by its certificate; raises EnrolmentFault if only that could prove it."""
        token = envelope.token
        if asked.certificate is None and (isinstance(token, UsernameToken) or not by_certificate(token)):
            return False
        try:
            with self.database.read() as conn:
                require_shown(conn, asked.certificate, now)
        except EnrolmentFault:
            if by_certificate(token):
                raise
            # A device that enrols again may still show the certificate it had.
            return False
        return True

    def _renew(self, asked: Asked, envelope: Envelope, request: TokenRequest, now: datetime) -> bytes:
        with self.database.read() as conn:  # strangers do not get as far as to hold up anybody's writing
            shown = require_shown(conn, asked.certificate, now)
        with self.database.write() as conn:
            issuer = self.issuer(conn)
            renewed = renew(
                conn,
                issuer,
                request=request,
                shown=shown,
                window=self.renewal.window,
                request_id=asked.request_id,
                remote_addr=asked.remote_addr,
                now=now,
            )
        _log.info(
            "device_renewed",
            device=renewed.id,
            certificate=renewed.certificate.thumbprint_sha1,
            remote_addr=asked.remote_addr,
        )
        intermediate = issuer.intermediate_der
        authority = (
            _certificate(issuer.root_der),
            None if intermediate is None else _certificate(intermediate),
        )
        document = renewal_document(
            client=_certificate(renewed.certificate.der),
            user_store=renewed.user_store,
            provider_id=self.provider_id,
            authority=authority if renewed.other_authority else None,
        )
        return write_token_response(document, relates_to=envelope.message_id, now=now)


def _require_private(asked: Asked) -> None:
    if not asked.private:
        raise EnrolmentFault(
            Subcode.INVALID_SECURITY,
            "The password would go through the network in clear. Enrol over https; behind a proxy, "
            "BRIDGE_TRUSTED_PROXIES has to name it.",
        )


def _certificate(der: bytes) -> Certificate:
    # The store's name for a certificate, and no protection of anything.
    return Certificate(der, hashlib.sha1(der, usedforsecurity=False).hexdigest().upper())
