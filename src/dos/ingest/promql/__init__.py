"""What any source that speaks the Prometheus HTTP API needs: queries, client, identity, columns.

`queries` says what is asked and how answers are named, `api` asks, `identity` decides which
entity a label set belongs to, `columns` turns answers into frames.
"""
