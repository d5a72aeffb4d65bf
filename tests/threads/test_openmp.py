"""The OpenMP runtime is loaded so that its idle threads sleep soon, and nothing else sees it."""

import os
import re
import subprocess
import sys

import pytest

SEE = "import os, lstm_rt; print({n: v for n, v in os.environ.items() if n in ('GOMP_SPINCOUNT', 'KMP_BLOCKTIME')})"


def load(**environment):
    """Import lstm_rt in a process of its own; what the program and the runtime say."""
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("OMP_", "GOMP_", "KMP_"))}
    environment = clean | {"OMP_DISPLAY_ENV": "VERBOSE"} | environment
    done = subprocess.run([sys.executable, "-c", SEE], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr


def spin_count(said):
    found = re.search(r"GOMP_SPINCOUNT = '(\w+)'", said)
    if not found:
        pytest.skip("the build has no OpenMP, or another runtime than GNU's")
    return found[1]


def test_idle_threads_soon_sleep():
    """By default GNU's runtime turns 300,000 times, which is many milliseconds."""
    left, said = load()
    assert 0 < int(spin_count(said)) <= 100_000
    assert left == "{}"


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_what_the_user_sets_is_left_alone(name):
    value = {"GOMP_SPINCOUNT": "1234", "OMP_WAIT_POLICY": "PASSIVE"}[name]
    left, said = load(**{name: value})
    assert spin_count(said) == {"GOMP_SPINCOUNT": "1234", "OMP_WAIT_POLICY": "0"}[name]
    assert left == ("{'GOMP_SPINCOUNT': '1234'}" if name == "GOMP_SPINCOUNT" else "{}")

