"""Say in words what a machine lacks before `make setup` fails on it. Runs on any Python 3."""

import sys

if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit("Python 3.11, 3.12 or 3.13 is needed; name one with: make PYTHON=python3.11 …")
try:
    import ensurepip  # noqa: F401
    import venv  # noqa: F401
except ImportError:
    sys.exit("Python's venv module is missing; on Debian and Ubuntu: apt-get install python3-venv")
