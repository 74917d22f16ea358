"""Rollbacks of quality and feature updates: asked for by IT, carried out by devices, each with an outcome."""
