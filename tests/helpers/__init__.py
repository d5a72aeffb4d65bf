"""What several tests share; ``tests`` is on the path of every run (``pyproject.toml``)."""
