"""Where the user's settings lie: the key of patient hashes, accepted licences."""

from __future__ import annotations

import os
from pathlib import Path

CONFIG_VARIABLE = "CARDIOPRECISION_CONFIG"


def config_folder() -> Path:
    """``$CARDIOPRECISION_CONFIG`` or the user's configuration folder; it need not exist."""
    chosen = os.environ.get(CONFIG_VARIABLE)
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_config_path("CardioPrecision", appauthor=False))
