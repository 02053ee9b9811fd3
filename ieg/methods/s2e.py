"""S2E: Co-teaching with a keep schedule that is searched for.

Yao et al., ICML 2020, "Searching to Exploit Memorization Effect in Learning
from Noisy Labels". The search itself is in `ieg.search`; what it trains, and
what is trained in the end, is Co-teaching.
"""

from typing import Any

from ieg.data.spec import DatasetSpec
from ieg.methods.coteaching import CoTeaching
from ieg.registry import METHODS


@METHODS.register('s2e')
class S2E(CoTeaching):
    """Co-teaching with a searched keep schedule."""

    @classmethod
    def presets(cls, dataset: DatasetSpec, network: str) -> dict[str, Any]:
        """Returns Co-teaching's settings, the search and its validation."""
        values = super().presets(dataset, network)
        return values | {'search': 'keep_schedule', 'valid_ratio': 0.1}
