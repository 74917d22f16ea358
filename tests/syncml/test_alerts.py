"""Alert codes and types, as the specifications number and name them."""

from __future__ import annotations

import pytest

from syncml import alerts
from syncml.alerts import KNOWN_CLIENT_EVENTS, KNOWN_GENERIC_ALERTS, AlertCode


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (1200, "SERVER_INITIATED"),
        (1201, "CLIENT_INITIATED"),
        (1222, "NEXT_MESSAGE"),
        (1223, "SESSION_ABORT"),
        (1224, "CLIENT_EVENT"),
        (1225, "NO_END_OF_DATA"),
        (1226, "GENERIC_ALERT"),
    ],
)
def test_a_code_has_its_name(code: int, name: str) -> None:
    """Every alert code Windows uses is known by its name in DM_Protocol 8.7."""
    assert AlertCode(code).name == name


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("LOGIN_STATUS", "com.microsoft/MDM/LoginStatus"),
        ("SYNC_TYPE", "com.microsoft.mdm.synctype"),
        ("REQUEST_PENDING", "Reversed-Domain-Name:com.microsoft.mdm.requestpending"),
        ("AAD_USER_TOKEN", "com.microsoft/MDM/AADUserToken"),
        ("DEVICE_PREP_SYNC", "com.microsoft/MDM/DevicePrepSync"),
        ("DECLARED_CONFIGURATION", "com.microsoft.mdm.declaredconfigurationdocuments"),
        ("UNENROLL_USER_REQUEST", "com.microsoft:mdm.unenrollment.userrequest"),
    ],
)
def test_a_type_is_spelt_as_windows_spells_it(name: str, type_: str) -> None:
    """Microsoft mixes slashes, colons and dots; each type is known to exactly one code."""
    assert getattr(alerts, name) == type_
    assert (type_ in KNOWN_CLIENT_EVENTS) != (type_ in KNOWN_GENERIC_ALERTS)


def test_an_install_job_comes_with_either_code() -> None:
    """The end of an MSI installation is told by 1224 or by 1226."""
    assert alerts.INSTALL_JOB == "Reversed-Domain-Name:com.microsoft.mdm.win32csp_install"
    assert alerts.INSTALL_JOB in KNOWN_CLIENT_EVENTS & KNOWN_GENERIC_ALERTS
