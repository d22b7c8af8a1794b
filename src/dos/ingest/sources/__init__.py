"""Sources, one file each: `type: prometheus` means `prometheus.py` here."""
