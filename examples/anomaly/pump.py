"""A pump that does not exist: motor current, pressure and flow, ten times a second, healthy and with faults."""

from __future__ import annotations

import numpy as np

CHANNELS = ("current", "pressure", "flow")
WINDOW = 32  #: samples that the model looks at together: about a stroke


def healthy(n: int, rng: np.random.Generator) -> np.ndarray:
    """Strokes of about 2.5 seconds under a load that wanders, ``(n, 3)``."""
    pace = 1 / (25 + 2 * _wander(n, 300, rng))
    load = 1 + 0.15 * _wander(n, 400, rng)
    phase = 2 * np.pi * (np.cumsum(pace) + rng.uniform())
    push = np.clip(np.sin(phase), 0, None) ** 0.6
    current = 0.2 + load * push
    pressure = 0.4 + 0.5 * load * np.clip(np.sin(phase - 0.6), -0.2, None)
    flow = 0.5 + 0.4 * np.sin(phase - 0.9) + 0.1 * np.sin(2 * phase)
    return np.stack([current, pressure, flow], 1) + 0.03 * rng.standard_normal((n, 3))


def _wander(n: int, slow: int, rng: np.random.Generator) -> np.ndarray:
    """Noise that changes within about ``slow`` samples; mean 0, deviation 1."""
    points = rng.standard_normal(n // slow + 3)
    return np.interp(np.arange(n) / slow + rng.uniform(), np.arange(len(points)), points)


def leak(x: np.ndarray, rng: np.random.Generator) -> None:
    """Pressure and flow are lost, more and more."""
    share = np.linspace(0, rng.uniform(0.3, 0.6), len(x))[:, None]
    x[:, 1:] *= 1 - share


def frozen(x: np.ndarray, rng: np.random.Generator) -> None:
    """A sensor gives the same value again and again."""
    channel = rng.integers(3)
    x[:, channel] = x[0, channel]


def bearing(x: np.ndarray, rng: np.random.Generator) -> None:
    """The current shakes."""
    x[:, 0] += rng.uniform(0.15, 0.3) * np.sin(np.arange(len(x)) * rng.uniform(1.8, 2.8))


def slipping(x: np.ndarray, rng: np.random.Generator) -> None:
    """The motor runs, but pressure comes late."""
    x[:, 1] = np.roll(x[:, 1], rng.integers(5, 9))


FAULTS = {"leak": leak, "frozen sensor": frozen, "bearing": bearing, "slipping": slipping}


def with_faults(n: int, rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, int, str]]]:
    """A stream with a fault about every 600 samples: ``(n, 3)``, and where each begins and ends, and its name."""
    x, events, start = healthy(n, rng), [], 400
    while start < n - 400:
        end = start + int(rng.integers(60, 150))
        name = list(FAULTS)[len(events) % len(FAULTS)]
        FAULTS[name](x[start:end], rng)
        events.append((start, end, name))
        start = end + int(rng.integers(300, 700))
    return x, events


def windows(x: np.ndarray) -> np.ndarray:
    """Each WINDOW samples, one further each time, float32 ``(n - WINDOW + 1, WINDOW, 3)``."""
    views = np.lib.stride_tricks.sliding_window_view(x, WINDOW, axis=0)
    return np.ascontiguousarray(views.transpose(0, 2, 1), np.float32)
