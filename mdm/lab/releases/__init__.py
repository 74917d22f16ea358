"""What the generated catalogue is made of: one module per kind of release, and what they share."""
