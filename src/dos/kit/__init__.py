"""Kit: the floor of the house. Knows nothing of services, metrics or incidents.

Every other package may import from here; nothing here imports from the rest of `dos`.
"""
