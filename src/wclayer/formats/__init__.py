"""Layer formats: each a reader and a writer of the flow in :mod:`wclayer.model`."""
