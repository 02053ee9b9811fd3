"""Images with transparency, and operations of Pillow."""

import numpy as np
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from ieg.data.augment import image_ops


def rgba(images, transparent):
    """Returns images `[b, H, W, 4]` that are transparent black in places."""
    alpha = np.where(transparent, 0, 255)
    alpha = np.broadcast_to(alpha, images.shape[:3])[..., None]
    return np.concatenate([images * (alpha > 0), alpha], -1).astype(np.uint8)


def packed(images):
    """Returns the pixels of `[b, H, W, 4]`."""
    solid = image_ops.pack(images[..., :3])
    return tf.where(images[..., 3] > 0, solid, solid - image_ops.OPAQUE)


def unpacked(pixels):
    """Does the opposite."""
    alpha = np.where(image_ops.opaque(pixels), 255, 0)[..., None]
    colours = image_ops.unpack(pixels, 3).numpy()
    return np.concatenate([colours, alpha], -1).astype(np.uint8)


def pillow(image, name, value):
    """Applies an operation to an RGBA image as the references do."""
    affine = {
        'ShearX': (1, value, 0, 0, 1, 0),
        'ShearY': (1, 0, 0, value, 1, 0),
        'TranslateX': (1, 0, value, 0, 1, 0),
        'TranslateY': (1, 0, 0, 0, 1, value),
    }
    if name == 'Identity':
        return image
    if name in affine:
        method = Image.Transform.AFFINE
        return image.transform(image.size, method, affine[name])
    if name == 'Rotate':
        return image.rotate(value)
    if name in image_ops.ENHANCING:
        return getattr(ImageEnhance, name)(image).enhance(value)
    function = getattr(ImageOps, name.lower())
    given = [int(value)] if name in ('Solarize', 'Posterize') else []
    return function(image.convert('RGB'), *given).convert('RGBA')
