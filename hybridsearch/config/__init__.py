"""The one place where a setting has its default, its unit and its explanation.

Everything that a user can set is a field here; the command line, the YAML files and the Python API
all fill this one typed tree. The default tree is the digits search that `make search` runs.
"""

from hybridsearch.config.child import DataConfig, MetricConfig, NetworkConfig, TrainingConfig
from hybridsearch.config.course import ENDS, MACHINERY, course, departures
from hybridsearch.config.effort import FidelityConfig, RaceConfig, RecordConfig, RetestConfig
from hybridsearch.config.proposers import (
    ControllerConfig,
    EvolutionConfig,
    HybridConfig,
    LocalConfig,
    RegularizedConfig,
    ScreenConfig,
)
from hybridsearch.config.reading import (
    config_path,
    explain,
    load_config,
    make_config,
    packaged_configs,
    read_settings,
    recorded_config,
    saved_config,
)
from hybridsearch.config.run import Config
from hybridsearch.config.section import Named, Section
from hybridsearch.config.space import SpaceConfig

__all__ = [
    "ENDS",
    "MACHINERY",
    "Config",
    "ControllerConfig",
    "DataConfig",
    "EvolutionConfig",
    "FidelityConfig",
    "HybridConfig",
    "LocalConfig",
    "MetricConfig",
    "Named",
    "NetworkConfig",
    "RaceConfig",
    "RecordConfig",
    "RegularizedConfig",
    "RetestConfig",
    "ScreenConfig",
    "Section",
    "SpaceConfig",
    "TrainingConfig",
    "config_path",
    "course",
    "departures",
    "explain",
    "load_config",
    "make_config",
    "packaged_configs",
    "read_settings",
    "recorded_config",
    "saved_config",
]
