"""The store in a SQL database: SQLite on one machine; the same code for PostgreSQL."""
