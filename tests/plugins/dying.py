"""A method whose process dies; every death leaves a line in $DEATHS."""

import dataclasses
import os

from ieg.methods.supervised import Supervised
from ieg.registry import METHODS, option


@dataclasses.dataclass(frozen=True)
class Config(Supervised.Config):
    """Options of the supervised method and one more."""

    fatal: float = option(0.0, 'From 0.5 on the process dies.', minimum=0)


@METHODS.register('dying')
class Dying(Supervised):
    """Supervised learning that does not survive some options."""

    Config = Config

    def begin_epoch(self, epoch, score):
        """Dies in the second epoch."""
        if epoch and self.config.fatal >= 0.5:
            with open(os.environ['DEATHS'], 'a') as file:
                file.write('died\n')
            os._exit(1)
        return super().begin_epoch(epoch, score)
