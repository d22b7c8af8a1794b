"""Model: the nouns of DOS as immutable values, and how they are written as JSON.

Rooms do not import each other; they exchange these. Everything is a frozen, slotted,
keyword-only dataclass, but for the columnar batches, which hold NumPy arrays that nobody
changes after they were handed over.
"""
