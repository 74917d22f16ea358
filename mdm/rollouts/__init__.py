"""Rollouts: updates that go through rings of devices one after the other, each only when the one before has proved well."""
