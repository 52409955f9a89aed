"""The harness package."""
