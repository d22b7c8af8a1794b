"""Forecast alarms: when disks, memory, certificates and quotas run out."""
