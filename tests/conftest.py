"""What all tests share: real PostgreSQL and Valkey, and a small cast of organisations.

The application runs under its own role, as in production, so that a missing
grant shows. Tests commit; what they leave is deleted after each one by the
superuser, who may do what the application may not.
"""

import os

import pytest

if not os.environ.get("METERGATE_TEST"):
    pytest.exit("Run the tests with ./dev test: they need PostgreSQL and Valkey of their own", 2)

pytest_plugins = [
    "tests.support.database",
    "tests.support.cast",
    "tests.support.live",
    "tests.support.length",
    "tests.support.browser",
    "tests.sandbox.fixtures",
]
