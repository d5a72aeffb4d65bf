"""Architecture files: what bare weights do not say."""

from lstm_rt.files import Limit

#: Of architecture files of any framework.
MAX_ARCH = Limit(1 << 20, "an architecture file is small")
