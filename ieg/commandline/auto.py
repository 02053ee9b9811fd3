"""What `--method=auto`, the default for your own data, stands for."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ieg.data import spec
from ieg.options import DataConfig, TrainConfig

AUTO = 'auto'
# In `config.json`, what was asked for where that was `AUTO`.
ASKED = 'method_asked'
# Whatever the data are, this is the method; its options depend on them.
METHOD = 'supervised'


@dataclasses.dataclass(frozen=True)
class Choice:
    """What stands for `--method=auto`.

    Attributes:
        values: the method, and options for those that are not given.
        reason: why, without a period.
    """

    values: Mapping[str, Any]
    reason: str

    def sentence(self, given: Mapping[str, Any]) -> str:
        """Returns what was chosen and why, for options that were given."""
        chosen = ' '.join(
            f'--{name}={value}'
            for name, value in self.values.items()
            if name == 'method' or name not in given
        )
        return f'--method=auto chose {chosen}, because {self.reason}.'


def asked(given: Mapping[str, Any]) -> str:
    """Returns the method that options ask for, which can be 'auto'.

    Raises:
        UsageError: the data set is unknown.
    """
    if 'method' in given:
        return given['method']
    dataset = given.get('dataset', DataConfig().dataset)
    own = spec.parse(dataset).base in spec.OWN
    return AUTO if own else TrainConfig().method


def method_of(given: Mapping[str, Any]) -> str:
    """Returns the name of the method that options ask for.

    Raises:
        UsageError: the data set is unknown.
    """
    method = asked(given)
    return METHOD if method == AUTO else method


def choose(are_vectors: bool) -> Choice:
    """Returns what suits vectors, features of images included, or images."""
    if are_vectors:
        return Choice(
            {'method': METHOD, 'loss': 'gce'},
            'a small network learns vectors in seconds, and with this loss '
            'hardly any wrong label',
        )
    return Choice(
        {'method': METHOD},
        'a network from scratch learns right labels before wrong ones; '
        'dividemix or coteaching take longer, and may become far more '
        'accurate where a fifth of the labels or more are wrong',
    )
