"""Storage: what must survive. Decisions and outbox in a database, samples in files."""
