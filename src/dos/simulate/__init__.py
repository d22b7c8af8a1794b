"""Simulate: a flight simulator of a microservice system, on virtual time and with known truth.

`world` says what there is, `workload` what arrives, `faults` what breaks, `propagation` how
load, latency and errors travel; `engine` plays it tick by tick. Three doors lead out: an ingest
source (`source`), a Prometheus exporter (`exporter`) and lines for people (`narration`).
"""
