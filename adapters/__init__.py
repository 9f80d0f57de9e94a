"""Metabench adapters: methods that adapt a frozen backbone to a task. Importing it imports no torch."""

from adapters._hyperparameters import parse, parse_list
from adapters.contract import Adapter, Predictor, Support, Views
from adapters.errors import AdapterError, BadAdapter, BadHyperparameter, UnknownAdapter
from adapters.registry import (
    configuration,
    has_official,
    hyperparameters_of,
    known,
    load,
    official_hyperparameters,
    tells_losses,
)

__all__ = [
    "Adapter",
    "AdapterError",
    "BadAdapter",
    "BadHyperparameter",
    "Predictor",
    "Support",
    "UnknownAdapter",
    "Views",
    "configuration",
    "has_official",
    "hyperparameters_of",
    "known",
    "load",
    "official_hyperparameters",
    "parse",
    "parse_list",
    "tells_losses",
]
