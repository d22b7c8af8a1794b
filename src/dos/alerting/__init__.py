"""Alerting: from an incident to one alert, told once to each receiver and always resolved."""
