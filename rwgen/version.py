"""The version of rwgen."""

__version__ = "0.1.0"
