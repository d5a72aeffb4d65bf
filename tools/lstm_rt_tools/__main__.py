"""``python -m lstm_rt_tools`` is the ``lstm-rt`` command."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
