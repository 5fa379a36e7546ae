"""Federated learning with your own training script.

Four lines make a training script federated::

    import neursafe_fl as nsfl

    nsfl.load_weights(model)                 # the round's global weights
    ...train as before...
    nsfl.commit_weights(model)               # hand the trained weights over
    nsfl.commit_metrics({"sample_num": n})   # their weight in the average, and what else is worth knowing

An NSFL client starts the script once a round. `python -m nsfl.local script.py` starts it without a federation and shows
what would be sent. Weights travel as safetensors, never as pickle.
"""

from . import _task
from ._exchange import (
    commit_metrics,
    get_dataset_path,
    get_file,
    get_parameter,
    get_parameters,
    get_seed,
    progress,
    put_file,
    put_parameter,
    put_parameters,
)
from ._optimizers import backward, create_optimizer
from ._weights import commit_weights, export_model, load_weights
from .errors import (
    BadName,
    BadTask,
    BadValue,
    CommittedTwice,
    NotFinite,
    NotFound,
    NotInTask,
    NsflError,
    OptimizerError,
    UnknownModel,
    WrongNames,
    WrongShape,
)

__version__ = "0.1.0"

__all__ = [
    "BadName",
    "BadTask",
    "BadValue",
    "CommittedTwice",
    "NotFinite",
    "NotFound",
    "NotInTask",
    "NsflError",
    "OptimizerError",
    "UnknownModel",
    "WrongNames",
    "WrongShape",
    "backward",
    "commit_metrics",
    "commit_weights",
    "create_optimizer",
    "export_model",
    "get_dataset_path",
    "get_file",
    "get_parameter",
    "get_parameters",
    "get_seed",
    "load_weights",
    "progress",
    "put_file",
    "put_parameter",
    "put_parameters",
]

_task.install_excepthook()
