"""`python -m qalint`, without the working folder on the path: it may hold code that nobody trusts."""

import sys

if sys.path and sys.path[0] in ("", __import__("os").getcwd()):
    del sys.path[0]

from .cli import main

sys.exit(main())
