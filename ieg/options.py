"""Options of a run, of its data, of its training and of a search.

Those of a method are defined in the method's own module. The help of an option
begins with a sentence that fits on one line; `ieg --help` shows only that one.
"""

import dataclasses

from ieg.registry import option

# The options that each learning-rate schedule reads, in addition to
# learning_rate and warmup_epochs.
SCHEDULES: dict[str, tuple[str, ...]] = {
    'constant': (),
    'custom_step': ('decay_steps', 'decay_epochs', 'decay_rate'),
    'exponential': ('decay_steps', 'decay_epochs', 'decay_rate'),
    'cosine': ('decay_steps', 'decay_epochs', 'cos_t_mul', 'cos_m_mul'),
    'cosine_one': (),
    'linear': ('decay_steps', 'decay_epochs'),
}
# Some arrays have a number for each epoch.
MOST_EPOCHS = 1_000_000
# Names of options in version 0.1.0 -> their names now. Both are accepted.
ALIASES = {
    'probe_step': 'memorization_step',
    'probe_rate': 'memorization_rate',
}
# Options that are paths on this machine.
PATHS = (
    'run',
    'checkpoint_path',
    'data_dir',
    'initial_weights',
    'probe_dir',
    'cache_dir',
    'human_labels',
    'unlabeled_dir',
)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Where and how a run executes; does not change what it computes.

    (Only `stop_on_memorization` can end a run before its length.)
    """

    mode: str = option(
        'train',
        'Train, or evaluate a checkpoint.',
        choices=('train', 'evaluation'),
    )
    checkpoint_path: str = option(
        'runs', 'Folder in which run folders are created.'
    )
    run_name: str = option(
        '', 'Name of the run folder. Empty = METHOD_NETWORK_sSEED.'
    )
    run: str = option(
        '',
        'Folder of a run to resume or evaluate. It has the options; those '
        'that are given win, such as --data_dir for data that were moved.',
    )
    restore_step: int = option(
        0, 'Step of the checkpoint to restore; 0 = the latest.', minimum=0
    )
    keep_checkpoints: int = option(
        3, 'Number of recent checkpoints to keep.', minimum=1
    )
    checkpoint_minutes: float = option(
        15.0,
        'Minutes between checkpoints in the middle of an epoch. A killed run '
        'loses at most that much; 0 = save at the end of epochs only.',
        minimum=0,
    )
    data_dir: str = option(
        '',
        'Folder of the data, or your own images. Images are a folder or a '
        'file; data sets of TFDS are in a TFDS data folder. Empty = '
        "$TFDS_DATA_DIR, or TFDS's default folder.",
    )
    cache_dir: str = option(
        '',
        'Folder in which features of images are kept, for all runs. Empty = '
        '$XDG_CACHE_HOME/ieg, or ~/.cache/ieg.',
    )
    val_batch_size: int = option(
        256, 'Examples per step and replica in evaluation.', minimum=1
    )
    eval_every: int = option(1, 'Epochs between evaluations.', minimum=1)
    eval_freq: int = option(
        0,
        'Steps between evaluations, rounded to whole epochs; 0 = use '
        '--eval_every.',
        minimum=0,
    )
    distribution_strategy: str = option(
        'auto',
        'How to distribute the training. auto = several workers if TF_CONFIG '
        'names them, mirrored on several GPUs (see CUDA_VISIBLE_DEVICES), '
        'otherwise one device.',
        choices=('auto', 'default', 'mirrored', 'multi_worker'),
    )
    num_replicas: int = option(
        0,
        'Replicas on one CPU, for testing; 0 = off.',
        minimum=0,
        maximum=256,
    )
    use_imagenet_as_eval: bool = option(
        False,
        'Also evaluate on the ImageNet validation images (webvisionmini).',
    )
    augment_on: str = option(
        'auto',
        'Where images are augmented. auto = on the device if it is a GPU and '
        'the images are in memory, otherwise on the host.',
        choices=('auto', 'host', 'device'),
    )
    jit: str = option(
        'auto',
        'Compile training steps with XLA; auto = on GPUs.',
        choices=('auto', 'on', 'off'),
    )
    deterministic: bool = option(
        True,
        'Use deterministic kernels: the same seed gives the same results.',
    )
    track_memorization: bool = option(
        False,
        'Measure memorization in every epoch. It measures how easily the '
        'networks would learn random labels of held-out images '
        '(susceptibility); the training itself does not change.',
    )
    memorization_step: str = option(
        'sgd',
        'Update that --track_memorization measures. sgd uses '
        '--memorization_rate, so that runs are comparable; optimizer uses the '
        'optimizer of the training and its learning rate, as the reference '
        'implementation does.',
        choices=('sgd', 'optimizer'),
    )
    memorization_rate: float = option(
        0.05,
        'Constant learning rate of --memorization_step=sgd.',
        minimum=0,
    )
    unlabeled_dir: str = option(
        '',
        'Folder of images for --track_memorization, searched recursively; '
        'empty = 1,000 test images without their labels.',
    )
    stop_on_memorization: str = option(
        'off',
        'What to do when memorization of wrong labels seems to begin. mark = '
        'report it; stop = also end the run some epochs later, before its full '
        'length, and keep at least that many checkpoints.',
        choices=('off', 'mark', 'stop'),
    )
    export: str = option(
        '',
        'Model formats to write besides model.keras. savedmodel = a TensorFlow '
        'SavedModel; litert = a LiteRT model.',
        choices=('', 'savedmodel', 'litert', 'savedmodel,litert'),
    )
    log_to: str = option(
        '',
        'Programs to log the run to, separated by commas: mlflow. Their own '
        'settings (MLFLOW_TRACKING_URI) say where.',
    )


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The data that a run learns from."""

    dataset: str = option(
        'digits_symmetric_0.4',
        'Data set, and noise to add to it. NAME[_imbal_RATIO][_NOISE_RATE], '
        'where RATIO is the size of the rarest class relative to the most '
        'frequent one: cifar10_imbal_0.01_symmetric_0.4, cifar10n_worse.',
    )
    backbone: str = option(
        'auto',
        'Network with fixed weights that turns images into vectors first. A '
        'name (lite0, lite1, lite2, efficientnetv2-b0, ...; see '
        'docs/features.md), NAME@SIDE for images of another side, FILE.keras, '
        'or hf://ORG/REPO; off = train on pixels. auto = the best that is '
        'installed, for your own images and unless an option is given that '
        'only training on pixels has; otherwise off.',
        introduced='off',
    )
    feature_views: int = option(
        0,
        'Random parts of each training image in a file whose features are '
        'stored besides those of the whole, for --backbone.',
        minimum=0,
        maximum=64,
    )
    image_size: int = option(
        0,
        'Side of the input images in pixels. For images in files; 0 = '
        'default of the data set.',
        minimum=0,
        maximum=4096,
    )
    feature_columns: str = option(
        '',
        'Columns of a table that become vectors, separated by commas. Empty = '
        'numbers and categories, or else text, if it has no column path.',
    )
    flip: str = option(
        'auto',
        'Mirror images at random; auto = default of the data set.',
        choices=('auto', 'on', 'off'),
    )
    probe_dir: str = option(
        '',
        'Folder of clean probe images, one folder per class, to use with your '
        'own images.',
    )
    human_labels: str = option(
        '',
        'File with the labels of cifar10n or cifar100n. Empty = a file with '
        'its published name in --data_dir, or the TFDS data set there.',
    )
    train_examples: int = option(
        0,
        'Number of training examples to use; 0 = all. They are a '
        'class-balanced subset, drawn before a long tail is made.',
        minimum=0,
    )
    probe_dataset_hold_ratio: float = option(
        0.0,
        'Share of the training set held out as probe. The labels of probe '
        'examples are clean.',
        minimum=0,
        maximum=0.9,
    )
    valid_ratio: float = option(
        0.0,
        'Share of noisy training data for validation.',
        minimum=0,
        maximum=0.9,
    )
    noise_seed: int = option(
        -1,
        'Seed of the label noise; -1 = --seed.',
        minimum=-1,
        maximum=2**32 - 1,
    )
    noise_sampler: str = option(
        'numpy',
        'Random generator of the noise. Others than numpy reproduce a '
        'reference implementation bit by bit; ieg also its probe set, '
        'memomentum also its validation split (by --noise_seed).',
    )
    crop_padding: int = option(
        -1,
        'Pixels of padding before the random crop of the weak augmentation; '
        '-1 = default of the data set.',
        minimum=-1,
        maximum=1024,
    )
    scaling: str = option(
        'standard',
        'Range of the input. standard = mean 0 and standard deviation 1 per '
        'channel over the data set; symmetric = [-1, 1], as in IEG; unit = '
        '[0, 1], as in Co-teaching; caffe = about [-128, 128], which '
        '--pretrained resnet50 and vgg19 require.',
        choices=('standard', 'symmetric', 'unit', 'caffe'),
    )


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """A search for good options before the training."""

    search: str = option(
        '',
        'Search for options before the training. keep_schedule, or numeric '
        'options with their ranges: '
        'lambda_u:0..150,temperature:0.1..1:log. Empty = no search.',
    )
    searcher: str = option(
        'betanes',
        'Search algorithm. betanes = natural gradient on ranks; reference = '
        'the algorithm in the code of S2E; random; or one of a plugin.',
    )
    search_iterations: int = option(
        5, 'Number of updates of the searcher, one per population.', minimum=1
    )
    search_population: int = option(
        8, 'Trials per iteration.', minimum=2, maximum=10000
    )
    search_epochs: int = option(
        0,
        'Length of a trial in epochs; 0 = length of the run. In short trials '
        'few labels are memorized, so keeping more examples looks better than '
        'it is.',
        minimum=0,
        maximum=MOST_EPOCHS,
    )
    search_again: int = option(
        3,
        'Number of best trials that are repeated, in addition to the given '
        'options.',
        minimum=1,
    )
    parallel_trials: int = option(
        1,
        'Trials that run at the same time, one process each.',
        minimum=1,
        maximum=256,
    )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How a method is trained."""

    method: str = option(
        'ieg',
        'Training method. auto chooses one, and is the default for your own '
        'data (folder, csv, npz).',
    )
    network_name: str = option(
        '',
        'Network; empty = default of the data set. Also FILE.keras, '
        'hf://ORG/REPO or module:function.',
    )
    seed: int = option(
        1, 'Seed of everything random.', minimum=0, maximum=2**32 - 1
    )
    max_epoch: int = option(
        0,
        'Number of epochs. 0 = set by --max_iteration, by the method, or 30.',
        minimum=0,
        maximum=MOST_EPOCHS,
    )
    max_iteration: int = option(
        0, 'Number of steps; 0 = set by --max_epoch.', minimum=0
    )
    steps_per_epoch: int = option(
        0,
        'Maximum steps per epoch; each epoch draws a new subset. 0 = all '
        'examples.',
        minimum=0,
    )
    pretrained: bool = option(
        False, 'Start from ImageNet weights, if the network has them.'
    )
    initial_weights: str = option(
        '',
        'Start from the weights of a finished run: its folder or model.keras. '
        'The network must be the same.',
    )
    batch_size: int = option(
        64,
        'Examples per step and replica. DivideMix uses twice as many.',
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
        'L2 coefficient; this multiple of all weights is added to the '
        'gradient.',
        minimum=0,
    )
    kernels_only_decay: bool = option(
        False, 'Exclude biases and BatchNorm from --weight_decay.'
    )
    lr_schedule: str = option(
        'constant', 'Learning-rate schedule.', choices=tuple(SCHEDULES)
    )
    decay_steps: str = option(
        '',
        'Steps at which the learning rate drops, or length of the first '
        'cosine cycle; separated by commas.',
    )
    decay_epochs: str = option('', 'Same as --decay_steps, in epochs.')
    decay_rate: float = option(
        0.1, 'Factor by which the learning rate drops.', minimum=0
    )
    cos_t_mul: float = option(
        1.5, 'Growth of the length of cosine cycles.', minimum=1
    )
    cos_m_mul: float = option(
        0.9, 'Factor between the peaks of cosine cycles.', minimum=0
    )
    warmup_epochs: int = option(
        0, 'Epochs in which the learning rate rises linearly.', minimum=0
    )
    dropout_mode: str = option(
        'train_only',
        'When cnn9 applies dropout. off = never, as in the published runs of '
        'Co-teaching; train_only = in training; always = also in evaluation, '
        'as in the present code of Co-teaching.',
        choices=('off', 'train_only', 'always'),
    )
    precision: str = option(
        'auto',
        'Floating-point type of the computation. auto = bfloat16 on GPUs where '
        'it is fast, otherwise float32. Weights, logits and losses are always '
        'float32.',
        choices=('auto', 'float32', 'bfloat16'),
    )
