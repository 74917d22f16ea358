"""Waking devices between their own sessions: wishes for a sync, and notifications through Windows' service."""
