"""When imported, loads the extension with an OpenMP runtime whose idle threads soon sleep.

By default GNU's runtime spins for milliseconds after each parallel region, LLVM's for 200 ms: a core
burnt for nothing. How long is read from the environment when the runtime is loaded, and nowhere else,
so it is set there for just that moment. Left alone: what the user has set, and a runtime that another
package has loaded before.
"""

import os
import platform

# Of GNU's in turns of its loop, which last 10 to 50 ns with x86's pause, and some ns elsewhere.
_TURNS = 10_000 if platform.machine().lower() in ("x86_64", "amd64", "i686") else 100_000
_POLICY = {"GOMP_SPINCOUNT": str(_TURNS), "KMP_BLOCKTIME": "1"}  # milliseconds, the least that spins


def _load() -> None:
    """Import the extension module, the OpenMP runtime with it."""
    if "OMP_WAIT_POLICY" in os.environ or any(name in os.environ for name in _POLICY):
        from . import _core
        return
    os.environ.update(_POLICY)
    try:
        from . import _core  # noqa: F401
    finally:
        for name in _POLICY:
            del os.environ[name]


_load()
