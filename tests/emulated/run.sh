#!/usr/bin/env bash
# The Python of other architectures under an emulator: wheels for aarch64 and armv7l, built by packaging/wheel.py; those
# tests on a Cortex-A76 (Raspberry Pi 5) that need no framework and say most for their time; and models on CPUs with fewer
# instructions, which must choose other tables.
#
#   tests/emulated/run.sh [PYTHON]     that of a virtual environment with pip, numpy, cython and setuptools
#
# Needs Debian's gcc-aarch64-linux-gnu, gcc-arm-linux-gnueabihf and qemu-user-static. Works in build/emulated.
set -euo pipefail
cd "$(dirname "$0")/../.."

python="$(cd "$(dirname "${1:-.venv/bin/python}")" && pwd)/$(basename "${1:-python}")"
root="$PWD"
work="$root/build/emulated"
export PYTHONDONTWRITEBYTECODE=1
mkdir -p "$work"

packaging/foreign_python.sh arm64 "$work/arm64"
packaging/foreign_python.sh armhf "$work/armhf"
rm -rf "$work/dist" "$work/tests"
for arch in aarch64:arm64 armv7l:armhf; do
    "$python" packaging/wheel.py "${arch%:*}" --python "$work/${arch#*:}" --out "$work/dist" >"$work/wheel.log" 2>&1 ||
        { cat "$work/wheel.log"; exit 1; }
done

# On these CPUs these tables: the best that they have, and the bits of files that other machines wrote.
try() {
    packaging/foreign_run.sh "$work/$1" "$2" packaging/try_wheel.py "$work/dist/"*"_$3.whl" --tables "$4" \
        tests/frozen/v1/{every_op,lstm_40,gru_40,rnn_40}.lrt tests/frozen/v5/integers_{lstm_8,gru_16}.lrt
}
try arm64 cortex-a53 aarch64 neon,portable
try armhf cortex-a7 armv7l neon,neonnofma,nofma,portable
try armhf cortex-a9 armv7l neonnofma,nofma,portable

# Tests, away from the sources, whose package they would see first.
mkdir "$work/tests" "$work/tests/site"
cp -r tests pyproject.toml "$work/tests/"
"$python" -m zipfile -e "$work/dist/"*_aarch64.whl "$work/tests/site"
"$python" -m pip install -q --target "$work/tests/site" --python-version 3.11 --only-binary=:all: \
    --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 "pytest>=8" "hypothesis>=6"
on_arm64() {
    (cd "$work/tests" && PYTHONPATH="$work/tests/site" "$root/packaging/foreign_run.sh" "$work/arm64" cortex-a76 \
        -m pytest -q -p no:cacheprovider "$@")
}
on_arm64 tests/format/test_frozen.py tests/runtime/test_streams.py >"$work/other.log" 2>&1 &
other=$!
on_arm64 tests/runtime/test_integers.py
wait "$other" || { cat "$work/other.log"; exit 1; }
cat "$work/other.log"
