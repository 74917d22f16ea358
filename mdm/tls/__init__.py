"""TLS and whose certificate a request came with: ended by this process, or by a proxy that says so (RFC 9440)."""
