"""Makes tests/data/tensorflow: SavedModels without a word of Keras's, what tf2onnx makes of them, and their numbers.

Needs Keras 3, TensorFlow and tf2onnx (made with 3.15, 2.21 and 1.17):
KERAS_BACKEND=tensorflow python tests/make_tensorflow_fixtures.py
"""

from __future__ import annotations

import importlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parent / "data" / "tensorflow"


def main() -> None:
    keras: Any = importlib.import_module("keras")
    rng = np.random.default_rng(9)
    layers = keras.layers
    model = keras.Sequential(
        [layers.Input((None, 4), name="x"), layers.LSTM(3, return_sequences=True), layers.GRU(3), layers.Dense(2)]
    )
    model.set_weights([rng.uniform(-0.8, 0.8, w.shape).astype(np.float32) for w in model.get_weights()])
    arrays = {}
    for batch, steps in ((1, 6), (5, 9)):
        x = rng.normal(size=(batch, steps, 4)).astype(np.float32)
        arrays |= {f"x{batch}": x, f"y{batch}": np.asarray(model(x, training=False))}
    DATA.mkdir(exist_ok=True)
    np.savez_compressed(DATA / "tagger.npz", **arrays)
    with tempfile.TemporaryDirectory() as place:
        folder, made = Path(place) / "tagger", Path(place) / "tagger.onnx"
        model.export(folder, verbose=False)
        subprocess.run(
            [sys.executable, "-m", "tf2onnx.convert", "--saved-model", str(folder), "--output", str(made)], check=True
        )
        (DATA / "tagger.onnx").write_bytes(made.read_bytes())
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for file in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "fingerprint.pb"):
                archive.write(file, file.relative_to(folder).as_posix())
        (DATA / "tagger.saved.zip").write_bytes(packed.getvalue())


if __name__ == "__main__":
    main()
