"""What every run of the tests loads."""

from helpers.skips import pytest_configure

__all__ = ["pytest_configure"]
