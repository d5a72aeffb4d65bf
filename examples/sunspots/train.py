"""Train a small Keras GRU that forecasts next year's sunspot number from all the years before.

Writes ``sunspots.keras`` and ``reference.npz`` (the whole series and Keras' own forecasts for it).
Needs Keras 3 with a backend; takes about a minute.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

HERE = Path(__file__).resolve().parent
LAST_TRAINING_YEAR = 1920
SCALE = 100.0
WINDOW = 80
UNITS = 24


def load() -> tuple[np.ndarray, np.ndarray]:
    """Years and yearly mean sunspot numbers."""
    table = np.loadtxt(HERE / "sunspots.csv", delimiter=",", skiprows=1, dtype=np.float32)
    return table[:, 0].astype(int), table[:, 1]


def windows(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All stretches of WINDOW years with, for every year, the year that follows as the target."""
    views = np.lib.stride_tricks.sliding_window_view(series / SCALE, WINDOW + 1)
    return views[:, :-1, None].copy(), views[:, 1:, None].copy()


def build() -> keras.Model:
    """Many to many: a forecast after every year."""
    model = keras.Sequential(
        [
            keras.Input((None, 1), name="sunspots"),
            keras.layers.GRU(UNITS, return_sequences=True, name="memory"),
            keras.layers.Dense(1, name="next_year"),
        ],
        name="sunspot_forecaster",
    )
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, 1500)), loss="mse")
    return model


def report(years: np.ndarray, actual: np.ndarray, forecast: np.ndarray) -> None:
    """Errors on the years the model has never seen, beside those of two naive forecasts."""
    test = years[1:] > LAST_TRAINING_YEAR
    now, before, target = actual[1:-1], actual[:-2], actual[2:]
    seen = test[1:]

    def rmse(guess: np.ndarray) -> float:
        return float(np.sqrt(np.mean((guess - target)[seen] ** 2)))

    print(f"held-out years {LAST_TRAINING_YEAR + 1}-{years[-1]}, root mean square error in sunspots:")
    print(f"  this model             {rmse(forecast[1:]):6.1f}")
    print(f"  'same as this year'    {rmse(now):6.1f}")
    print(f"  'same change again'    {rmse(2 * now - before):6.1f}")


def main() -> None:
    keras.utils.set_random_seed(3)
    years, series = load()
    x, y = windows(series[years <= LAST_TRAINING_YEAR])
    model = build()
    history = model.fit(x, y, batch_size=16, epochs=160, verbose=0)
    print(f"training loss {history.history['loss'][0]:.4f} -> {history.history['loss'][-1]:.4f}")

    whole = (series / SCALE).reshape(1, -1, 1).astype(np.float32)
    forecast = keras.ops.convert_to_numpy(model(whole))
    report(years, series, forecast[0, :-1, 0] * SCALE)
    # Without the optimizer's state, which would be two thirds of the file.
    lean = keras.Sequential.from_config(model.get_config())
    lean.set_weights(model.get_weights())
    lean.save(HERE / "sunspots.keras")
    np.savez_compressed(HERE / "reference.npz", x=whole, y=forecast.astype(np.float32))


if __name__ == "__main__":
    main()
