#!/bin/sh
# IEG on CIFAR-10 with 10 clean images per class, ResNet-29.
# As remembered from the paper's tables (Zhang et al., CVPR 2020), not checked:
# uniform 0.2 / 0.4 / 0.8: 92.9 / 92.5 / 85.6 %; asymmetric 0.2 / 0.4:
# 92.7 / 90.2 %. Not run here.
set -eu
SAVEPATH=${SAVEPATH:-checkpoints}
for seed in ${SEEDS:-1}; do
  for noise in uniform_0.2 uniform_0.4 uniform_0.8 asymmetric_0.2 asymmetric_0.4
  do
    python -m ieg.main --dataset=cifar10_${noise} --network_name=resnet29 \
      --probe_dataset_hold_ratio=0.002 --checkpoint_path="$SAVEPATH" \
      --seed="$seed" "$@"
  done
done
