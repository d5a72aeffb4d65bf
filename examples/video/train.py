"""Train a small Keras ConvLSTM that sees a film of a moving digit and draws the next frame.

Writes ``video.keras`` and ``reference.npz`` (films of digits that were held out, and what Keras draws). Needs Keras 3
with a backend; takes about three minutes.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from digits import N_TRAIN, SIZE, films, load

HERE = Path(__file__).resolve().parent
FRAMES, FILTERS, BATCH, STEPS = 10, 12, 8, 1400


def build() -> keras.Model:
    """Many to many: after every frame, the next one."""
    return keras.Sequential(
        [
            keras.Input((None, SIZE, SIZE, 1), name="frames"),
            keras.layers.ConvLSTM2D(FILTERS, 5, padding="same", return_sequences=True, name="motion"),
            keras.layers.TimeDistributed(keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid"), name="next"),
        ],
        name="next_frame",
    )


def main() -> None:
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(1)
    images = load()
    model = build()
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(8e-3, STEPS), clipnorm=1.0), loss="bce")
    total = 0.0
    for step in range(1, STEPS + 1):
        x = films(images[:N_TRAIN], BATCH, FRAMES + 1, rng)
        total += float(model.train_on_batch(x[:, :-1], x[:, 1:]))
        if step % 50 == 0:
            print(f"step {step}  loss {total / 50:.4f}", flush=True)
            total = 0.0

    x = films(images[N_TRAIN:], 200, FRAMES + 1, rng)
    y = np.asarray(model.predict(x[:, :-1], verbose=0))
    seen = slice(3, None)  # a motion shows itself in some frames
    ours, still = (float(np.mean((guess - x[:, 1:])[:, seen] ** 2)) for guess in (y, x[:, :-1]))
    print(f"digits that were not trained on: mean square error {ours:.4f}; {still:.4f} for 'the same frame again'")
    # Without the optimizer's state, which would be two thirds of the file.
    lean = keras.Sequential.from_config(model.get_config())
    lean.set_weights(model.get_weights())
    lean.save(HERE / "video.keras")
    np.savez_compressed(HERE / "reference.npz", x=x[:4], y=y[:4])


if __name__ == "__main__":
    main()
