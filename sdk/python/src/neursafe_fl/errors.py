"""What can go wrong, each with a stable code that reaches the coordinator and `nsfl-ctl describe job`.

A message says what happened, where, and how to put it right.
"""


class NsflError(Exception):
    """The base of all errors of the SDK. `code` is stable; the sentence may change."""

    code = "script-exception"

    def __str__(self) -> str:
        # KeyError, a base of some, would print the sentence in quotes
        return " ".join(str(arg) for arg in self.args)


class NotInTask(NsflError, RuntimeError):
    """A function was called in a process that is no task of an NSFL client."""


class BadTask(NsflError, RuntimeError):
    """A file of the task's folder is missing or cannot be read: the client's fault or another program's, not the script's."""


class UnknownModel(NsflError, TypeError):
    """An object is neither a PyTorch nor a Keras model, or has no weights yet."""


class WrongShape(NsflError, ValueError):
    """The model's tensors are not those of the global weights: other shapes or types, or, as `WrongNames`, other names."""

    code = "wrong-shape"


class WrongNames(WrongShape):
    """The model lacks tensors of the global weights, or has others."""

    code = "wrong-names"


class NotFinite(NsflError, ValueError):
    """A tensor or a metric is NaN or infinite."""

    code = "not-finite"


class CommittedTwice(NsflError, RuntimeError):
    """`commit_weights` was called a second time in one task."""

    code = "commit-twice"


class NotFound(NsflError, KeyError):
    """A data set, parameter or file of that name is not there."""


class BadName(NsflError, ValueError):
    """A name that cannot be the name of a file, a metric or a parameter."""


class BadValue(NsflError, ValueError):
    """A value that cannot be handed over: no number, or nothing JSON can express."""


class OptimizerError(NsflError, ValueError):
    """The job's federated optimizer cannot be made, or cannot work with what the script passes."""
