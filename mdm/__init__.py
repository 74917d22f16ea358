"""The service: HTTP, storage, check-in, catalogue sync, approvals, REST and the lab."""
