"""Devices, their credentials and their groups."""
