"""Options of a run, of its data and of its training.

Those of a method stand in the method's own module.
"""

import dataclasses

from ieg.registry import option

# Which options each learning-rate schedule reads beside learning_rate and
# warmup_epochs.
SCHEDULES = {
    'constant': (),
    'custom_step': ('decay_steps', 'decay_epochs', 'decay_rate'),
    'exponential': ('decay_steps', 'decay_epochs', 'decay_rate'),
    'cosine': ('decay_steps', 'decay_epochs', 'cos_t_mul', 'cos_m_mul'),
    'cosine_one': (),
    'linear': ('decay_steps', 'decay_epochs'),
}


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Where and how a run executes; does not change what it computes.

    (Only `stop_on_memorization` can end a run before its length.)
    """

    mode: str = option(
        'train',
        'Train, or evaluate the checkpoint of a run.',
        choices=('train', 'evaluation'),
    )
    checkpoint_path: str = option('runs', 'Folder that holds the run folders.')
    restore_step: int = option(
        0, 'Step of the checkpoint to restore; 0 = the latest.', minimum=0
    )
    keep_checkpoints: int = option(
        3, 'How many checkpoints a run keeps.', minimum=1
    )
    data_dir: str = option(
        '',
        'TFDS data folder, or the folder or file of your own images; empty = '
        '$TFDS_DATA_DIR, then the default of TFDS.',
    )
    val_batch_size: int = option(
        256, 'Examples per step and replica in evaluation.', minimum=1
    )
    eval_every: int = option(1, 'Epochs between evaluations.', minimum=1)
    eval_freq: int = option(
        0,
        'Steps between evaluations, rounded to whole epochs; 0 = by '
        '--eval_every.',
        minimum=0,
    )
    distribution_strategy: str = option(
        'auto',
        'auto: several workers where TF_CONFIG names them, mirrored on '
        'several GPUs (see CUDA_VISIBLE_DEVICES), else one device.',
        choices=('auto', 'default', 'mirrored', 'multi_worker'),
    )
    num_replicas: int = option(
        0, 'Replicas on one CPU, to try distribution; 0 = off.', minimum=0
    )
    use_imagenet_as_eval: bool = option(
        False,
        'Evaluate on the validation images of ImageNet, too (webvisionmini).',
    )
    augment_on: str = option(
        'auto',
        'Where views are computed; auto = the device where it is a GPU and '
        'the images are in memory.',
        choices=('auto', 'host', 'device'),
    )
    jit: str = option(
        'auto',
        'Compile steps with XLA; auto = on a GPU.',
        choices=('auto', 'on', 'off'),
    )
    deterministic: bool = option(
        True, 'Use deterministic kernels: same seed, same numbers.'
    )
    track_memorization: bool = option(
        False,
        'Measure in every epoch how easily the networks would learn random '
        'labels of held-out images (susceptibility); training stays the same.',
    )
    probe_step: str = option(
        'sgd',
        'Step that is measured: sgd at --probe_rate, which makes runs '
        'comparable, or the optimizer of the training at its own rate, as the '
        'reference does.',
        choices=('sgd', 'optimizer'),
    )
    probe_rate: float = option(
        0.05, 'Learning rate of --probe_step=sgd, the same always.', minimum=0
    )
    unlabeled_dir: str = option(
        '',
        'Folder of images, at any depth, to measure with; empty = 1,000 test '
        'images without their labels.',
    )
    stop_on_memorization: str = option(
        'off',
        'mark: say when the networks seem to begin to learn wrong labels by '
        'heart; stop: also end the run some epochs later, which makes it '
        'shorter than asked, and keep at least that many checkpoints.',
        choices=('off', 'mark', 'stop'),
    )
    export: str = option(
        '',
        'What to write at the end beside model.keras: a SavedModel of '
        'TensorFlow, a LiteRT model, or both.',
        choices=('', 'savedmodel', 'litert', 'savedmodel,litert'),
    )


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What is learnt from."""

    dataset: str = option(
        'digits_symmetric_0.4',
        'Data set, long tail, kind of label noise and its rate: '
        'cifar10_imbal_0.01_symmetric_0.4, cifar10n_worse.',
    )
    image_size: int = option(
        0,
        'Pixels of the sides of what a network sees of images in files; 0 = '
        'by the data set.',
        minimum=0,
    )
    flip: str = option(
        'auto',
        'Whether the views mirror images; auto = as usual for the data set.',
        choices=('auto', 'on', 'off'),
    )
    probe_dir: str = option(
        '', 'Class folders of clean probe images beside your own images.'
    )
    human_labels: str = option(
        '',
        'File with the labels of cifar10n or cifar100n; empty = a file of the '
        'published name, or the set of TFDS, in --data_dir.',
    )
    train_examples: int = option(
        0,
        'Class-balanced subset of the training set, before any long tail; 0 = '
        'all.',
        minimum=0,
    )
    probe_dataset_hold_ratio: float = option(
        0.0,
        'Share of the training set held out as clean probe examples.',
        minimum=0,
        maximum=0.9,
    )
    valid_ratio: float = option(
        0.0,
        'Share of the noisy training set held out for validation.',
        minimum=0,
        maximum=0.9,
    )
    noise_seed: int = option(-1, 'Seed of the noise; -1 = --seed.', minimum=-1)
    noise_sampler: str = option(
        'numpy',
        'Generator of the noise; others repeat a reference code bit by bit '
        '(ieg: with the probe, memomentum: with the validation split, by the '
        'seed of the noise).',
    )
    crop_padding: int = option(
        -1,
        'Pixels of padding before the random crop of the weak view; -1 = as '
        'usual for the data set.',
        minimum=-1,
    )
    scaling: str = option(
        'standard',
        'standard: mean 0 and deviation 1 per channel over the data set; '
        'symmetric: pixels to [-1, 1], as IEG does; unit: to [0, 1], as '
        'Co-teaching does; caffe: to about [-128, 128], as --pretrained '
        'resnet50 and vgg19 need it.',
        choices=('standard', 'symmetric', 'unit', 'caffe'),
    )


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """A search for good options before the training."""

    search: str = option(
        '',
        'What to search for: keep_schedule, or numeric options with their '
        'ranges: lambda_u:0..150,temperature:0.1..1:log; empty = no search.',
    )
    searcher: str = option(
        'betanes',
        'How to search: betanes (natural gradient on ranks), reference (what '
        "S2E's code executes), random, or one of a plugin.",
    )
    search_iterations: int = option(
        5, 'How often the searcher learns from a population.', minimum=1
    )
    search_population: int = option(8, 'Trials per iteration.', minimum=2)
    search_epochs: int = option(
        0,
        'Length of a trial in epochs; 0 = that of the run. In short trials '
        'little is learnt by heart, so keeping more looks better than it is.',
        minimum=0,
    )
    search_again: int = option(
        3,
        'How many of the best trials are repeated, beside the configuration.',
        minimum=1,
    )
    parallel_trials: int = option(
        1, 'Trials at a time, each in a process of its own.', minimum=1
    )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How a method is trained."""

    method: str = option('ieg', 'Learning algorithm.')
    network_name: str = option(
        '', 'Network; empty = the usual one for the data set.'
    )
    seed: int = option(
        1, 'Root of all randomness.', minimum=0, maximum=2**32 - 1
    )
    max_epoch: int = option(
        0,
        'Length in epochs; 0 = by --max_iteration, by the method, or 30.',
        minimum=0,
    )
    max_iteration: int = option(
        0, 'Length in steps; 0 = by --max_epoch.', minimum=0
    )
    steps_per_epoch: int = option(
        0,
        'Most steps of an epoch, which takes other examples each time; 0 = '
        'all examples.',
        minimum=0,
    )
    pretrained: bool = option(
        False, 'Start from ImageNet weights, where the network has some.'
    )
    batch_size: int = option(
        64,
        'Examples per step and replica; DivideMix takes as many again.',
        minimum=1,
    )
    optimizer: str = option(
        'sgd', 'SGD with momentum, or Adam.', choices=('sgd', 'adam')
    )
    learning_rate: float = option(0.05, 'Initial learning rate.', minimum=0)
    momentum: float = option(
        0.9, 'Momentum of SGD; beta1 of Adam.', minimum=0, maximum=0.9999
    )
    weight_decay: float = option(
        5e-4,
        'Coupled L2: its multiple of all weights joins the gradient.',
        minimum=0,
    )
    kernels_only_decay: bool = option(
        False, 'Leave biases and BatchNorm out of --weight_decay.'
    )
    lr_schedule: str = option(
        'constant', 'Course of the learning rate.', choices=tuple(SCHEDULES)
    )
    decay_steps: str = option(
        '', 'Steps of the drops, or of the first cycle; comma separated.'
    )
    decay_epochs: str = option('', 'The same in epochs.')
    decay_rate: float = option(0.1, 'Factor of a drop.', minimum=0)
    cos_t_mul: float = option(1.5, 'Growth of the cosine cycles.', minimum=1)
    cos_m_mul: float = option(
        0.9, 'Factor between the peaks of cosine cycles.', minimum=0
    )
    warmup_epochs: int = option(
        0, 'Epochs of linear rise of the learning rate.', minimum=0
    )
    dropout_mode: str = option(
        'train_only',
        'When cnn9 drops channels: never (as in the runs that Co-teaching was '
        'published with), in training, or always (as its code does today).',
        choices=('off', 'train_only', 'always'),
    )
    precision: str = option(
        'auto',
        'auto = bfloat16 on GPUs that are fast at it, else float32. '
        'Weights, logits and losses stay float32.',
        choices=('auto', 'float32', 'bfloat16'),
    )
