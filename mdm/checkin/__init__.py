"""Device check-in: OMA DM over HTTP, one transaction per message."""
