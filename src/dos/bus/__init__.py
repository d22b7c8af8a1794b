"""Bus: the log between ingest and the pipeline. It is also what a recording is made of."""
