"""The machine package."""
