"""Alert codes and the alert types Windows sends (MS-MDM 3.2.5.1, OMA DM_Protocol 8.7)."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["LOGIN_STATUS", "REQUEST_PENDING", "SYNC_TYPE", "UNENROLL_USER_REQUEST", "AlertCode"]


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
