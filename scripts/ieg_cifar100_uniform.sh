#!/bin/sh
# IEG on CIFAR-100 with uniform noise, 10 clean images per class, WRN-28-10.
# Published (Zhang et al., CVPR 2020, abstract): 80.2 +- 0.3 % at a rate of 0.4,
# 75.5 +- 0.2 % at 0.8; the mean of three runs on one GPU each. Not run here.
set -eu
SAVEPATH=${SAVEPATH:-checkpoints}
for seed in ${SEEDS:-1}; do
  for ratio in 0.2 0.4 0.8; do
    python -m ieg.main --dataset=cifar100_uniform_${ratio} \
      --network_name=wrn28-10 --checkpoint_path="$SAVEPATH" --seed="$seed" "$@"
    python -m ieg.main --dataset=cifar100_uniform_${ratio} \
      --network_name=wrn28-10 --checkpoint_path="$SAVEPATH" --seed="$seed" \
      --mode=evaluation "$@"
  done
done
