"""The adapters that a tool of the operator's works on: those of the cloud, or of a data folder that is there."""

from __future__ import annotations

import os

from shared.errors import ConfigurationError
from shared.sets import CloudPorts, Ports, embedded
from shared.settings import Settings


def opened(settings: Settings) -> Ports | CloudPorts:
    """The adapters that the settings name. Raises ``ConfigurationError``; never makes a folder by a misspelt name."""
    if settings.backend == "cloud":
        return CloudPorts(settings)
    if not os.path.isdir(settings.data_dir):
        raise ConfigurationError(f"There is no data folder {settings.data_dir}: name one with DATA=path.")
    return embedded(settings)
