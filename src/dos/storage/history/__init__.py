"""History: the samples themselves. `ring` keeps the last hours, `segments` the months."""
