"""Architecture files: what bare weights do not say."""
