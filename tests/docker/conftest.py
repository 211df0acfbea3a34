import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))

from afterwards import pytest_configure, pytest_runtest_makereport  # noqa: E402,F401
