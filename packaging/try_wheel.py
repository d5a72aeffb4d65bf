"""Unpacks a wheel, imports it and runs models on every table: `python packaging/try_wheel.py WHEEL MODEL.lrt...`.

For clean environments and emulators: needs NumPy alone, starts no process and installs nothing. Beside each model is an
.npz with inputs (in__NAME) and the outputs they must give (plain__out__NAME), as those of tests/frozen.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

#: docs/numerics.md: towards the numbers that were stored, whatever the table.
TOLERANCE = 1e-5


def worst(lstm_rt, path: Path, table: str) -> float:
    """The largest error of a model's outputs on one table."""
    model, arrays = lstm_rt.load(path, kernels=table), np.load(path.with_suffix(".npz"))
    outputs = model(*(arrays[f"in__{port.name}"] for port in model.inputs))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    wanted = [arrays[f"plain__out__{port.name}"] for port in model.outputs]
    return max(float(np.abs(y - want).max()) for y, want in zip(outputs, wanted, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--tables", help="the tables that must be there, best first, with commas between them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(options.wheel) as archive:
            archive.extractall(folder)
        sys.path.insert(0, folder)
        import lstm_rt

        if not Path(lstm_rt.__file__).is_relative_to(folder):
            raise SystemExit(f"try_wheel.py: {lstm_rt.__file__} was imported, not the wheel")
        tables = lstm_rt.kernels()
        if options.tables and options.tables.split(",") != tables:
            raise SystemExit(f"try_wheel.py: the tables are {','.join(tables)}, not {options.tables}")
        for path in options.models:
            for table in tables:
                error = worst(lstm_rt, path, table)
                if not error <= TOLERANCE:
                    raise SystemExit(f"try_wheel.py: {path} on {table}: {error:.2g} from the stored outputs")
        print(f"{options.wheel.name}: {len(options.models)} models on {', '.join(tables)}")


if __name__ == "__main__":
    main()
