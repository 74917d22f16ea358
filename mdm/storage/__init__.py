"""Storage: tables, engines and migrations for SQLite and PostgreSQL."""
