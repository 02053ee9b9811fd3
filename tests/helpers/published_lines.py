"""The published command lines, and how one is resolved.

They are recorded with the code that is there by

    PYTHONPATH=.:tests/plugins:tests/helpers python tests/helpers/published_lines.py

What is recorded is what 0.1.0 made of them, so only a line that is new in
`LINES` may change the file.
"""  # noqa: E501

import json
import shlex

from paths import GOLDEN

RECORDED = GOLDEN / 'published_lines.json'
WRN = '--network_name=wrn28-10 --checkpoint_path=checkpoints'
COTEACHING = '--dropout_mode=off --noise_sampler=coteaching --noise_seed=0'
SMALL = (
    '--data_dir=tfds --network_name=lenet --train_examples=10000 '
    '--valid_ratio=0.2 --max_epoch=40 --batch_size=128'
)
SEARCH = '--search_iterations=1 --search_population=4 --search_again=2'
PLAIN = (
    '--optimizer=adam --learning_rate=1e-3 --weight_decay=0 '
    '--lr_schedule=linear --crop_padding=0 --scaling=unit'
)
LINES = (
    # README.md and the Makefile.
    '',
    '--dataset=cifar10_asymmetric_0.4 --method=dividemix',
    '--dataset=cifar10_asymmetric_0.4 --method=dividemix --mode=evaluation',
    '--dataset=digits_symmetric_0.4 --method=dividemix --valid_ratio=0.1',
    '--dataset=digits_symmetric_0.4 --method=s2e',
    '--dataset=digits_symmetric_0.4 --method=dividemix --valid_ratio=0.1 '
    '--search=lambda_u:0..150,temperature:0.1..1:log --parallel_trials=2',
    '--dataset=digits_uniform_0.5 --method=supervised --noise_seed=1 '
    '--track_memorization',
    '--plugin=elr --method=elr --elr_lambda=7',
    # Further settings of DivideMix's tables.
    '--dataset=cifar10_uniform_0.2 --method=dividemix',
    '--dataset=cifar10_uniform_0.9 --method=dividemix',
    '--dataset=cifar100_uniform_0.5 --method=dividemix',
    '--dataset=cifar100_uniform_0.9 --method=dividemix',
    '--dataset=mnist_symmetric_0.5 --method=dividemix --valid_ratio=0.1',
    # scripts/ieg_cifar100_uniform.sh, as in IEG's own README; ieg_cifar10.sh.
    f'--dataset=cifar100_uniform_0.4 {WRN} --seed=1',
    f'--dataset=cifar100_uniform_0.4 {WRN} --seed=1 --mode=evaluation',
    '--dataset=cifar10_asymmetric_0.2 --network_name=resnet29 '
    '--probe_dataset_hold_ratio=0.002 --checkpoint_path=checkpoints --seed=1',
    # scripts/baselines_cifar100_uniform.sh
    f'--dataset=cifar100_uniform_0.8 --method=l2r {WRN} --seed=1',
    f'--dataset=cifar100_uniform_0.8 --method=supervised {WRN} '
    '--probe_dataset_hold_ratio=0.02 --use_ema --batch_size=100 '
    '--learning_rate=0.1 --lr_schedule=cosine --max_iteration=200000 '
    '--crop_padding=2 --scaling=symmetric --precision=float32 --seed=1',
    # scripts/fsr_cifar100_uniform.sh
    f'--dataset=cifar100_uniform_0.2 {WRN} --method=fsr '
    '--max_iteration=63500 --cos_t_mul=2 --probe_dataset_hold_ratio=0 --seed=1',
    # scripts/webvision.sh
    '--dataset=webvisionmini --data_dir=data/tensorflow_datasets '
    '--method=dividemix --use_imagenet_as_eval=true --checkpoint_path=runs',
    '--dataset=webvisionmini --network_name=resnet50 '
    '--checkpoint_path=runs/ieg_webvisionmini --ce_factor=4 '
    '--consistency_factor=8 --batch_size=8 --use_imagenet_as_eval=true '
    '--val_batch_size=50 --eval_freq=10000 --max_iteration=1000000',
    # scripts/clothing1m.sh
    '--dataset=clothing1m --data_dir=clothing1m --method=dividemix',
    '--dataset=clothing1m --data_dir=clothing1m --method=me_momentum',
    '--dataset=clothing1m --data_dir=clothing1m --method=supervised',
    # scripts/me_momentum_paper.sh
    '--dataset=mnist_instance_0.4 --data_dir=tfds --method=me_momentum '
    '--noise_sampler=memomentum --noise_seed=1 --seed=3',
    '--dataset=cifar10_symmetric_0.2 --data_dir=tfds --method=me_momentum '
    '--noise_sampler=memomentum --noise_seed=1 --seed=1',
    '--dataset=cifar100_instance_0.2 --data_dir=tfds --method=me_momentum '
    '--noise_sampler=memomentum --noise_seed=1 --seed=1',
    # scripts/coteaching_paper.sh
    '--dataset=mnist_pairflip_0.45 --data_dir=tfds --method=coteaching '
    f'--selection=coteaching {COTEACHING} --seed=1',
    '--dataset=cifar10_symmetric_0.5 --data_dir=tfds --method=coteaching '
    f'--selection=coteaching_plus {COTEACHING} --seed=1',
    '--dataset=cifar100_symmetric_0.2 --data_dir=tfds --method=coteaching '
    f'--selection=jocor {COTEACHING} --seed=1',
    '--dataset=cifar10_pairflip_0.45 --data_dir=tfds --method=s2e '
    f'--selection=coteaching {COTEACHING} --seed=1',
    # scripts/coteaching_small.sh
    f'--dataset=mnist_symmetric_0.2 {SMALL} --method=s2e {SEARCH}',
    f'--dataset=mnist_symmetric_0.2 {SMALL} --method=supervised {PLAIN}',
    # scripts/small_sets.sh
    '--dataset=digits_symmetric_0.6 --seed=1 --probe_dataset_hold_ratio=0.08 '
    '--eval_every=5 --method=supervised --probe_use=only',
    # scripts/memorization_cifar10.sh and memorization_clothing1m.sh
    '--dataset=cifar10_uniform_0.5 --noise_seed=1 --data_dir=tfds '
    '--method=supervised --network_name=vgg19_bn --max_epoch=200 '
    '--batch_size=128 --learning_rate=0.01 --weight_decay=5e-4 '
    '--lr_schedule=exponential --decay_epochs=1 --decay_rate=0.98 '
    '--track_memorization',
    '--dataset=clothing1m --data_dir=clothing1m --method=supervised '
    '--network_name=alexnet --max_epoch=30 --learning_rate=0.001 '
    '--lr_schedule=cosine_one --weight_decay=1e-3 --track_memorization '
    '--pretrained=false',
)


def resolve(line):
    """Returns the configuration that the command makes of its arguments.

    What a machine decides, such as --precision=auto, is not decided yet.
    """
    from absl import flags

    import ieg.networks  # noqa: F401  # Registers them.
    from ieg import config as ieg_config
    from ieg import main

    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    flags.FLAGS.unparse_flags()
    return ieg_config.resolve(main.parse(['ieg', *shlex.split(line)]))


def record():
    found = {line: resolve(line).flat() for line in LINES}
    text = json.dumps(found, indent=1, sort_keys=True)
    RECORDED.write_text(text + '\n')


if __name__ == '__main__':
    record()
