"""Alembic's environment. The store runs the migrations itself when it opens."""
