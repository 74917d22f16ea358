"""Saved queries: criteria asked of the catalogue's updates, under a name that approvals and rules can use."""
