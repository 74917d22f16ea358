"""Alert codes and the alert types Windows sends (MS-MDM 3.2.5.1, OMA DM_Protocol 8.7)."""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "AAD_USER_TOKEN",
    "DECLARED_CONFIGURATION",
    "DEVICE_PREP_SYNC",
    "INSTALL_JOB",
    "KNOWN_CLIENT_EVENTS",
    "KNOWN_GENERIC_ALERTS",
    "LOGIN_STATUS",
    "REQUEST_PENDING",
    "SYNC_TYPE",
    "UNENROLL_USER_REQUEST",
    "AlertCode",
]


class AlertCode(IntEnum):
    """An alert code of OMA DM 1.2 as Windows uses them."""

    SERVER_INITIATED = 1200
    CLIENT_INITIATED = 1201
    NEXT_MESSAGE = 1222
    SESSION_ABORT = 1223
    CLIENT_EVENT = 1224
    NO_END_OF_DATA = 1225
    GENERIC_ALERT = 1226


LOGIN_STATUS = "com.microsoft/MDM/LoginStatus"
"""1224: Data is `user` (the enrolled user is active), `others` or `none`."""

SYNC_TYPE = "com.microsoft.mdm.synctype"
"""1224: Data is `user`, `device` or `mixed`; a command of the wrong scope gets 405 (MS-MDM 3.2.5.1.5)."""

REQUEST_PENDING = "Reversed-Domain-Name:com.microsoft.mdm.requestpending"
"""1224 without Final: the device is still working and keeps the session alive (MS-MDE2 2.2.9.3)."""

UNENROLL_USER_REQUEST = "com.microsoft:mdm.unenrollment.userrequest"
"""1226: the user has left management; answer, then send nothing more (MS-MDM 3.2.5.1.3)."""

AAD_USER_TOKEN = "com.microsoft/MDM/AADUserToken"  # noqa: S105 - the name of an alert type
"""1224: Data is the signed-in user's token. It is a secret: never log or keep it."""

DEVICE_PREP_SYNC = "com.microsoft/MDM/DevicePrepSync"
"""1224: how far device preparation is (MS-MDM 3.2.5.1.6)."""

DECLARED_CONFIGURATION = "com.microsoft.mdm.declaredconfigurationdocuments"
"""1224: Data is the device's view of its declared configuration documents, as XML."""

INSTALL_JOB = "Reversed-Domain-Name:com.microsoft.mdm.win32csp_install"
"""1224 or 1226: how an MSI installation of EnterpriseDesktopAppManagement ended."""

KNOWN_CLIENT_EVENTS = frozenset(
    {
        LOGIN_STATUS,
        SYNC_TYPE,
        REQUEST_PENDING,
        AAD_USER_TOKEN,
        DEVICE_PREP_SYNC,
        "com.microsoft/MDM/BootstrapSync",
        "com.microsoft/MDM/OdjSync",
        DECLARED_CONFIGURATION,
        INSTALL_JOB,
    }
)
"""Types of Alert 1224 that are answered 200; any other gets 406 (RepPro 10.4)."""

KNOWN_GENERIC_ALERTS = frozenset({INSTALL_JOB, UNENROLL_USER_REQUEST})
"""Types of Alert 1226 that are answered 200; any other gets 415 (DM_Protocol 8.7.2)."""
