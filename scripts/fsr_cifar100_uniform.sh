#!/bin/sh
# FSR on CIFAR-100 with uniform noise and no clean images, WRN-28-10.
# As remembered from the paper's tables (Zhang and Pfister, ICCV 2021), not
# checked: about 78.7 / 74.2 / 46.7 % at 0.2 / 0.4 / 0.8. Not run here.
set -eu
SAVEPATH=${SAVEPATH:-checkpoints}
for seed in ${SEEDS:-1}; do
  for ratio in 0.2 0.4 0.8; do
    python -m ieg.main --dataset=cifar100_uniform_${ratio} \
      --network_name=wrn28-10 --method=fsr --checkpoint_path="$SAVEPATH" \
      --max_iteration=63500 --cos_t_mul=2 --probe_dataset_hold_ratio=0 \
      --seed="$seed" "$@"
  done
done
