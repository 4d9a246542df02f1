"""A proxy that breaks what passes through it, and what must come of that."""
