"""qalint: lints ML training code and marimo notebooks.

Importing this package imports nothing else: start-up is paid by every pre-commit run.
"""

__version__ = "0.1.0"
