"""Train a small Keras GRU that forecasts tomorrow's highest temperature, and how sure it is: five quantiles.

Writes ``forecast.keras`` and ``reference.npz`` (Keras' own forecasts for all days). Needs Keras 3 with a
backend; takes about a minute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from weather import FIRST_TEST_YEAR, QUANTILES, features, load, to_model

HERE = Path(__file__).resolve().parent
WINDOW, UNITS, EPOCHS = 60, 16, 30


def pinball(truth: Any, forecast: Any) -> Any:
    """The loss whose least value is at the quantiles: too low costs q, too high 1 - q."""
    q = ops.convert_to_tensor(QUANTILES)
    short = ops.subtract(truth, forecast)  # (N, T, 1) - (N, T, 5)
    return ops.mean(ops.maximum(q * short, (q - 1) * short), axis=-1)


def build() -> keras.Model:
    """Many to many: a forecast after every day."""
    return keras.Sequential(
        [
            keras.Input((None, 6), name="weather"),
            keras.layers.GRU(UNITS, return_sequences=True, name="memory"),
            keras.layers.Dense(len(QUANTILES), name="tomorrow"),
        ],
        name="temperature_forecaster",
    )


def main() -> None:
    keras.utils.set_random_seed(3)
    days, table = load()
    x, high = features(days, table), to_model(table[:, 1])
    seen = int(np.flatnonzero(days.astype("datetime64[Y]").astype(int) + 1970 < FIRST_TEST_YEAR)[-1])
    starts = np.arange(seen - WINDOW)[:, None] + np.arange(WINDOW)
    model = build()
    steps = EPOCHS * -(-len(starts) // 32)
    model.compile(keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(5e-3, steps), 0.02), loss=pinball)
    history = model.fit(x[starts], high[starts + 1][..., None], batch_size=32, epochs=EPOCHS, verbose=0)
    print(f"training loss {history.history['loss'][0]:.4f} -> {history.history['loss'][-1]:.4f}")

    forecast = ops.convert_to_numpy(model(x[None]))
    loss = float(ops.mean(pinball(high[seen + 1 :, None], forecast[0, seen:-1])))
    print(f"held-out year {FIRST_TEST_YEAR}: pinball loss {loss * 10:.3f} degrees C")
    # Without the optimizer's state, which would be two thirds of the file.
    lean = keras.Sequential.from_config(model.get_config())
    lean.set_weights(model.get_weights())
    lean.save(HERE / "forecast.keras")
    np.savez_compressed(HERE / "reference.npz", y=forecast.astype(np.float32))


if __name__ == "__main__":
    main()
