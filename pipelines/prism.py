"""Where Prism, the local runner's binary, is kept."""

import os
from importlib.metadata import version
from pathlib import Path


def cached_path() -> Path:
    """The place of Prism for the installed Beam version; it need not be there yet."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "mqttbeam" / f"prism-{version('apache-beam')}" / "prism"
