#!/usr/bin/env bash
# Runs the Python that packaging/foreign_python.sh has unpacked, under an emulator.
#
#   packaging/foreign_run.sh FOLDER CPU ARGUMENTS-OF-PYTHON...
#
# CPU is one that qemu knows: cortex-a72, cortex-a7, max. PYTHONPATH is passed on. What starts sys.executable (subprocess,
# multiprocessing's spawn) does not work under it.
set -euo pipefail

root="$(cd "$1" && pwd)"
cpu="$2"
shift 2
python="$(readlink -f "$root/usr/bin/python3")"
if [ -d "$root/usr/lib/aarch64-linux-gnu" ]; then
    qemu=qemu-aarch64-static libraries="$root/usr/lib/aarch64-linux-gnu"
else
    qemu=qemu-arm-static libraries="$root/usr/lib/arm-linux-gnueabihf"
fi
exec "$qemu" -cpu "$cpu" -L "$root" -E LD_LIBRARY_PATH="$libraries:$libraries/blas:$libraries/lapack" "$python" "$@"
