"""Who may call the API: scopes and bearer tokens."""
