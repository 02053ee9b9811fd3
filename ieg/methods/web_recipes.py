"""How networks are trained on the large real-world sets.

Settings are those of the method's authors where they have some, otherwise of
papers that train on the set; nothing here was run at full size with this code.
"""

from typing import Any

# A batch of warm-up in DivideMix, or of anybody else.
TRAINING: dict[str, dict[str, Any]] = {
    # DivideMix, its WebVision script.
    'webvisionmini': dict(
        batch_size=64,
        learning_rate=0.01,
        lr_schedule='custom_step',
        decay_epochs='40',
        max_epoch=80,
    ),
    # DivideMix, its Clothing1M script; an epoch has 1,000 steps.
    'clothing1m': dict(
        batch_size=64,
        learning_rate=0.002,
        weight_decay=1e-3,
        lr_schedule='custom_step',
        decay_epochs='40',
        max_epoch=80,
        steps_per_epoch=1_000,
        pretrained=True,
    ),
    # SSR; VGG-19 from scratch.
    'animal10n': dict(
        batch_size=128,
        learning_rate=0.02,
        lr_schedule='custom_step',
        decay_epochs='50,100',
        max_epoch=150,
    ),
    # PLC, but with momentum.
    'food101n': dict(
        batch_size=32,
        learning_rate=0.005,
        weight_decay=1e-3,
        lr_schedule='custom_step',
        decay_epochs='10,20',
        max_epoch=30,
        pretrained=True,
    ),
}

# DivideMix beside the settings above, whose batches it halves.
DIVIDEMIX: dict[str, dict[str, Any]] = {
    'webvisionmini': dict(
        warm_up=1, alpha=0.5, lambda_u='0', mix_rows='labeled', image_size=299
    ),
    # Each network draws its examples, so no epoch is cut short.
    'clothing1m': dict(
        warm_up=1,
        warm_up_penalty=1.0,
        alpha=0.5,
        lambda_u='0',
        mix_rows='labeled',
        warm_up_examples=64_000,
        epoch_examples=32_000,
        steps_per_epoch=0,
    ),
}
DIVIDEMIX_NETWORKS = {'webvisionmini': 'inception_resnet_v2'}

# Methods of the IEG code base; batches are of one of eight GPUs.
_IEG = dict(
    image_size=224,
    scaling='symmetric',
    learning_rate=0.1,
    lr_schedule='cosine',
)
IEG: dict[str, dict[str, Any]] = {
    'webvisionmini': _IEG
    | dict(
        batch_size=8,
        weight_decay=4e-4,
        cos_t_mul=1.5,
        cos_m_mul=0.9,
        max_iteration=1_000_000,
    ),
}
IEG_FACTORS = {'webvisionmini': dict(ce_factor=4.0, consistency_factor=8.0)}
FSR: dict[str, dict[str, Any]] = {
    'webvisionmini': _IEG
    | dict(
        batch_size=16,
        weight_decay=1e-4,
        cos_t_mul=2.0,
        warmup_epochs=3,
        max_iteration=123_300,
        queue_capacity=5_000,
        use_pseudo_loss='all_1_0.1_1',
        meta_start_epoch=20,
    ),
}

# Me-Momentum, its Clothing1M script, which has drops of the rate across
# refinements and one network per class for the extraction; here they are
# within a refinement, and one network extracts.
ME_MOMENTUM: dict[str, dict[str, Any]] = {
    'clothing1m': dict(
        batch_size=32,
        learning_rate=0.005,
        weight_decay=1e-3,
        outer_rounds=3,
        inner_rounds=5,
        early_epochs=5,
        round_epochs=5,
        pretrained=True,
        class_weights=True,
    ),
}
