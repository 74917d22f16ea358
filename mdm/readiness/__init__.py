"""Whether a domain is ready for enrolments: what a PC will find in DNS, TLS and at the endpoints."""
