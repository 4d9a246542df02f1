"""Measuring wclayer side by side with the programs people use for the same work; see README.md."""
