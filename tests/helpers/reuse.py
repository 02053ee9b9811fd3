"""Runs of one configuration that share their compiled steps."""

from ieg import experiment
from ieg.config import folder_of
from ieg.training import devices
from ieg.training.checkpoint import Rewind
from ieg.utils.interrupt import Interrupt


class Reused:
    """Builds an experiment once, and begins again with it as a search does.

    An experiment is built again for another seed or mode.
    """

    def __init__(self):
        self._real = experiment.build
        self._built = {}

    def build(self, config, *args, **kwargs):
        """Stands for `experiment.build`."""
        key = config.train, config.method, config.run.mode
        if key not in self._built:
            built = self._real(config, *args, **kwargs)
            self._built[key] = built, Rewind(built.trainer.method)
            return built
        built, rewind = self._built[key]
        identity = experiment._identity(config, built.strategy, built.data)
        experiment._check_identity(folder_of(config), config, identity)
        devices.set_numerics(config)
        rewind.apply()
        built.trainer._callbacks.clear()
        built.trainer._interrupt = kwargs.get('interrupt') or Interrupt()
        return built.restart(config, folder_of(config))
