"""Each request, written out in full: what a correct downstream server sends."""

from __future__ import annotations

import pytest

from mdm.upstream import requests
from mdm.upstream.messages import AuthorizationCookie, Cookie, DriverFilter, RevisionFilter, UpdateIdentity

SD = "http://www.microsoft.com/SoftwareDistribution"
DA = "http://www.microsoft.com/SoftwareDistribution/Server/DssAuthWebService"
COOKIE = Cookie("2026-10-04T20:33:26.65455Z", "AAEC")
IN_XML = (
    "<cookie><Expiration>2026-10-04T20:33:26.65455Z</Expiration><EncryptedData>AAEC</EncryptedData></cookie>"
)
ONE = UpdateIdentity("dd78b8a1-0b20-45c1-add6-4da72e9364cf", 202)
TWO = UpdateIdentity("266f6222-c89d-43f2-9f8a-69340271e677", 200)

CASES = [
    (requests.get_auth_config(), SD, "GetAuthConfig", ""),
    (
        requests.get_authorization_cookie("mdm.example.org", "6f1c2f6e-3f0b-4d3a-9b1e-0d2f6a1c5e12"),
        DA,
        "GetAuthorizationCookie",
        (
            "<accountName>mdm.example.org</accountName>"
            "<accountGuid>6f1c2f6e-3f0b-4d3a-9b1e-0d2f6a1c5e12</accountGuid>"
        ),
    ),
    (
        requests.get_cookie(AuthorizationCookie("DssTargeting", "AAEC")),
        SD,
        "GetCookie",
        (
            "<authCookies><AuthorizationCookie><PlugInId>DssTargeting</PlugInId><CookieData>AAEC</CookieData>"
            "</AuthorizationCookie></authCookies><protocolVersion>1.20</protocolVersion>"
        ),
    ),
    (
        requests.get_cookie(AuthorizationCookie("DssTargeting", "AAEC"), COOKIE),
        SD,
        "GetCookie",
        (
            "<authCookies><AuthorizationCookie><PlugInId>DssTargeting</PlugInId><CookieData>AAEC</CookieData>"
            "</AuthorizationCookie></authCookies><oldCookie><Expiration>2026-10-04T20:33:26.65455Z</Expiration>"
            "<EncryptedData>AAEC</EncryptedData></oldCookie><protocolVersion>1.20</protocolVersion>"
        ),
    ),
    (requests.get_config_data(COOKIE), SD, "GetConfigData", IN_XML),
    (
        requests.get_config_data(COOKIE, "9438,2026"),
        SD,
        "GetConfigData",
        f"{IN_XML}<configAnchor>9438,2026</configAnchor>",
    ),
    (
        requests.get_revision_id_list(COOKIE, RevisionFilter(get_config=True)),
        SD,
        "GetRevisionIdList",
        f"{IN_XML}<filter><GetConfig>true</GetConfig><Get63LanguageOnly>false</Get63LanguageOnly></filter>",
    ),
    (
        requests.get_revision_id_list(
            COOKIE,
            RevisionFilter(
                get_config=False,
                anchor="9438,2026",
                categories=((ONE.update_id, True),),
                classifications=((ONE.update_id, True), (TWO.update_id, False)),
            ),
        ),
        SD,
        "GetRevisionIdList",
        (
            f"{IN_XML}<filter><Anchor>9438,2026</Anchor><GetConfig>false</GetConfig>"
            "<Get63LanguageOnly>false</Get63LanguageOnly><Categories><IdAndDelta>"
            "<Id>dd78b8a1-0b20-45c1-add6-4da72e9364cf</Id><Delta>true</Delta></IdAndDelta></Categories>"
            "<Classifications><IdAndDelta><Id>dd78b8a1-0b20-45c1-add6-4da72e9364cf</Id><Delta>true</Delta></IdAndDelta>"
            "<IdAndDelta><Id>266f6222-c89d-43f2-9f8a-69340271e677</Id><Delta>false</Delta></IdAndDelta>"
            "</Classifications></filter>"
        ),
    ),
    (
        requests.get_update_data(COOKIE, [ONE, TWO]),
        SD,
        "GetUpdateData",
        (
            f"{IN_XML}<updateIds><UpdateIdentity><UpdateID>dd78b8a1-0b20-45c1-add6-4da72e9364cf</UpdateID>"
            "<RevisionNumber>202</RevisionNumber></UpdateIdentity><UpdateIdentity>"
            "<UpdateID>266f6222-c89d-43f2-9f8a-69340271e677</UpdateID><RevisionNumber>200</RevisionNumber>"
            "</UpdateIdentity></updateIds>"
        ),
    ),
    (
        requests.get_related_revisions(COOKIE, [ONE.update_id]),
        SD,
        "GetRelatedRevisionsForUpdates",
        f"{IN_XML}<updateIDs><guid>dd78b8a1-0b20-45c1-add6-4da72e9364cf</guid></updateIDs>",
    ),
    (
        requests.get_revision_id_list(
            COOKIE, RevisionFilter(get_config=False, languages=((1033, True), (1031, False)))
        ),
        SD,
        "GetRevisionIdList",
        (
            f"{IN_XML}<filter><GetConfig>false</GetConfig><Get63LanguageOnly>false</Get63LanguageOnly><Languages>"
            "<LanguageAndDelta><Id>1033</Id><Delta>true</Delta></LanguageAndDelta>"
            "<LanguageAndDelta><Id>1031</Id><Delta>false</Delta></LanguageAndDelta></Languages></filter>"
        ),
    ),
    (
        requests.get_driver_set_data(COOKIE, [ONE.update_id]),
        SD,
        "GetDriverSetData",
        f"{IN_XML}<driverSets><guid>{ONE.update_id}</guid></driverSets>",
    ),
    (
        requests.get_update_decryption_data(COOKIE, [ONE]),
        SD,
        "GetUpdateDecryptionData",
        (
            f"{IN_XML}<updateIds><UpdateIdentity><UpdateID>{ONE.update_id}</UpdateID>"
            "<RevisionNumber>202</RevisionNumber></UpdateIdentity></updateIds>"
        ),
    ),
    (
        requests.get_deployments(COOKIE, "s", "d"),
        SD,
        "GetDeployments",
        f"{IN_XML}<deploymentAnchor>d</deploymentAnchor><syncAnchor>s</syncAnchor>",
    ),
    (
        requests.get_deployments(COOKIE, "s"),
        SD,
        "GetDeployments",
        f"{IN_XML}<syncAnchor>s</syncAnchor>",
    ),
    (
        requests.download_files(COOKIE, ["h/W9"]),
        SD,
        "DownloadFiles",
        f"{IN_XML}<fileDigestList><base64Binary>h/W9</base64Binary></fileDigestList>",
    ),
]


@pytest.mark.parametrize(("request_", "namespace", "operation", "members"), CASES)
def test_the_body_is_exactly_what_the_schema_orders(
    request_: requests.SoapRequest, namespace: str, operation: str, members: str
) -> None:
    """Element for element, in the operation's own namespace."""
    call = f'<{operation} xmlns="{namespace}">{members}</{operation}>'.replace(
        f'<{operation} xmlns="{namespace}"></{operation}>', f'<{operation} xmlns="{namespace}"/>'
    )
    assert request_.body.decode() == (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">'
        f"<soap:Body>{call}</soap:Body></soap:Envelope>"
    )


@pytest.mark.parametrize(("request_", "namespace", "operation", "members"), CASES)
def test_the_soapaction_is_quoted(
    request_: requests.SoapRequest, namespace: str, operation: str, members: str
) -> None:
    """The double quotes are part of the header's value."""
    assert request_.headers == {
        "Content-Type": "text/xml; charset=utf-8",
        "SOAPAction": f'"{namespace}/{operation}"',
    }


@pytest.mark.parametrize("anchor", ["a 1", None])
def test_a_driver_filter_has_all_its_arrays(anchor: str | None) -> None:
    """DssProtocolVersion must be there and is empty; an empty Categories means any operating system."""
    request = requests.get_driver_id_list(
        COOKIE,
        DriverFilter(
            anchor, computer_ids=((ONE.update_id, False),), pnp_ids=(("PCI\\VEN_8086&DEV_1", True),)
        ),
    )
    held = f"<Anchor>{anchor}</Anchor>" if anchor else ""
    assert (
        f"<filter><DssProtocolVersion/>{held}<Categories/><ComputerIds><IdAndDelta><Id>{ONE.update_id}</Id>"
        "<Delta>false</Delta></IdAndDelta></ComputerIds><PnpHardwareIds><HardwareIdAndDelta>"
        "<Id>PCI\\VEN_8086&amp;DEV_1</Id><Delta>true</Delta></HardwareIdAndDelta></PnpHardwareIds></filter>"
    ) in request.body.decode()


def test_no_revision_list_request_names_a_dss_protocol_version() -> None:
    """MS-WSUSSS 3.1.4.5 forbids it."""
    assert not [case for case in CASES if b"DssProtocolVersion" in case[0].body]


def test_cookies_do_not_show_in_a_repr() -> None:
    """A cookie that ends up in a log line does not give itself away."""
    assert "AAEC" not in repr(COOKIE) + repr(AuthorizationCookie("DssTargeting", "AAEC"))
