"""Maintenance windows: when devices may be given updates, and what of that Windows itself can keep."""
