"""Ingest: sources deliver telemetry; it is normalised, interned and handed to the pipeline."""
