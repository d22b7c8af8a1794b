"""Networks of root cause analysis; they need the extra `ml`."""
