"""The version, at one place, for the package, the build and whatever is written into images."""

__version__ = "0.1.0"
