"""How the published sets of web images are usually trained on."""

import dataclasses
from collections.abc import Mapping

from ieg.data.parts import Listing

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class SetRecipe:
    """How a set is usually trained on, and how large it is.

    Attributes:
        size: pixels of the sides of the square that a network sees.
        crop: 'area' for a random area and aspect of the training image;
            'shift' for a square of fixed size at a random place of it.
        fraction: of the short side that the crop of evaluation takes, and
            that of training with 'shift'; 1 for all of it.
        mean: per channel, in units of pixels scaled to [0, 1].
        std: per channel, in the same units.
        num_classes: classes.
        train_count: published number of training images.
        test_count: of test images.
        valid_count: of clean validation images.
        padding: pixels added on each side before the crop 'shift'.
        flip: whether training images are mirrored at random.
    """

    size: int
    crop: str
    fraction: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    num_classes: int
    train_count: int
    test_count: int
    valid_count: int = 0
    padding: int = 0
    flip: bool = True


# DivideMix since 2020: short side 320, random area, 299 pixels. The reference
# IEG code sees 224 pixels and evaluates on 224 / 256 of the short side.
WEBVISIONMINI = SetRecipe(
    size=299,
    crop='area',
    fraction=299 / 320,
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    num_classes=50,
    train_count=65_944,
    test_count=2_500,
)
# DivideMix, PES, DISC and SSR; the statistics are those of the set.
CLOTHING1M = SetRecipe(
    size=224,
    crop='shift',
    fraction=224 / 256,
    mean=(0.6959, 0.6537, 0.6371),
    std=(0.3113, 0.3192, 0.3214),
    num_classes=14,
    train_count=1_000_000,
    test_count=10_526,
    valid_count=14_313,
)
# The crop of SSR, which pads 8 pixels; PLC only mirrors, SELFIE does nothing.
# No statistics are published.
ANIMAL10N = SetRecipe(
    size=64,
    crop='shift',
    fraction=1.0,
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    num_classes=10,
    train_count=50_000,
    test_count=5_000,
    padding=8,
)
# PLC: short side 256, 224 pixels, here of a random area.
FOOD101N = SetRecipe(
    size=224,
    crop='area',
    fraction=224 / 256,
    mean=_IMAGENET_MEAN,
    std=_IMAGENET_STD,
    num_classes=101,
    train_count=310_009,
    test_count=25_250,
)


RECIPES: dict[str, SetRecipe] = {
    'webvisionmini': WEBVISIONMINI,
    'clothing1m': CLOTHING1M,
    'animal10n': ANIMAL10N,
    'food101n': FOOD101N,
}


def count_remarks(parts: Mapping[str, Listing], recipe: SetRecipe) -> list[str]:
    """Returns a remark for each part that has not its published size."""
    return [
        f'{count:,} {kind} images are published, here are {len(parts[part]):,}.'
        for part, kind, count in (
            ('train', 'training', recipe.train_count),
            ('valid', 'validation', recipe.valid_count),
            ('test', 'test', recipe.test_count),
        )
        if part in parts and len(parts[part]) != count
    ]
