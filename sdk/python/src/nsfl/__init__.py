"""Short name of `neursafe_fl`: the same functions, the same state."""

from neursafe_fl import *  # noqa: F403
from neursafe_fl import __all__ as __all__
from neursafe_fl import __version__ as __version__
