"""What every run of the tests loads."""

from helpers.skips import pytest_configure
from hypothesis import settings

__all__ = ["pytest_configure"]

# A change is judged by what it changes: the same examples each time. New ones: --hypothesis-profile=default.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")
