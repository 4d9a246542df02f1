"""Names that a plain folder has at its top, and what its text file calls itself."""

__all__ = ["METADATA", "SCHEMA", "STREAMS"]

SCHEMA = "wclayer.plain/1"
METADATA = "wclayer.jsonl"
"""The name of the text file in the plain folder."""

STREAMS = "wclayer.streams"
"""The name of the folder that holds alternate streams too large for the text file."""
