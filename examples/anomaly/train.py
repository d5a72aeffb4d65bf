"""Train a small Keras LSTM autoencoder on a healthy pump: what it cannot repeat later, is not healthy.

Writes ``anomaly.keras``, ``alarm.txt`` (the error above which it is an alarm, from healthy samples) and
``reference.npz`` (healthy windows that were not trained on, and what Keras makes of them). Needs Keras 3 with a
backend; takes about two minutes.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from pump import WINDOW, healthy, windows

HERE = Path(__file__).resolve().parent
UNITS, CODE, EPOCHS = 32, 6, 20


def build() -> keras.Model:
    """A window -> six numbers -> the window again."""
    return keras.Sequential(
        [
            keras.Input((WINDOW, 3), name="samples"),
            keras.layers.LSTM(UNITS, name="encoder"),
            keras.layers.Dense(CODE, name="code"),
            keras.layers.RepeatVector(WINDOW, name="again"),
            keras.layers.LSTM(UNITS, return_sequences=True, name="decoder"),
            keras.layers.Dense(3, name="repeated"),
        ],
        name="pump_autoencoder",
    )


def main() -> None:
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(1)
    x = windows(healthy(24_000, rng))[::6]
    model = build()
    steps = EPOCHS * -(-len(x) // 128)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, steps), clipnorm=1.0), loss="mse")
    history = model.fit(x, x, batch_size=128, epochs=EPOCHS, verbose=0)
    print(f"training loss {history.history['loss'][0]:.5f} -> {history.history['loss'][-1]:.5f}")

    unseen = windows(healthy(10_000, rng))
    errors = np.mean((model.predict(unseen, verbose=0) - unseen) ** 2, axis=(1, 2))
    alarm = float(np.quantile(errors, 0.999))
    print(f"healthy samples that were not trained on: error {errors.mean():.5f}, 99.9 % below {alarm:.5f}")
    (HERE / "alarm.txt").write_text(f"{alarm:.6f}\n", encoding="ascii")
    # Without the optimizer's state, which would be two thirds of the file.
    lean = keras.Sequential.from_config(model.get_config())
    lean.set_weights(model.get_weights())
    lean.save(HERE / "anomaly.keras")
    np.savez_compressed(HERE / "reference.npz", x=unseen[:1200:30], y=model.predict(unseen[:1200:30], verbose=0))


if __name__ == "__main__":
    main()
