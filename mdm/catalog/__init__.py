"""The update catalogue: metadata documents, their store, and the sync that fills it."""
