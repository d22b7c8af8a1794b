"""Incidents: which anomalies belong together, when that is an incident, and when it is over."""
