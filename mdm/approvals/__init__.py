"""Approvals and EULAs: what IT wants, and what may be delivered."""
