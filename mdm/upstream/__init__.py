"""The downstream-server side of the WSUS server-to-server protocol [MS-WSUSSS]."""
