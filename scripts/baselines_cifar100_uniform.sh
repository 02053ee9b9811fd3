#!/bin/sh
# L2R and supervised training on the images and labels, and with the network
# and the training recipe, of ieg_cifar100_uniform.sh.
# As quoted in the IEG paper, from memory: L2R 67.1 / 61.3 / 35.1 % at uniform
# 0.2 / 0.4 / 0.8. Not run here.
set -eu
SAVEPATH=${SAVEPATH:-checkpoints}
for seed in ${SEEDS:-1}; do
  for ratio in 0.2 0.4 0.8; do
    python -m ieg.main --dataset=cifar100_uniform_${ratio} --method=l2r \
      --network_name=wrn28-10 --checkpoint_path="$SAVEPATH" --seed="$seed" "$@"
    python -m ieg.main --dataset=cifar100_uniform_${ratio} --method=supervised \
      --network_name=wrn28-10 --probe_dataset_hold_ratio=0.02 --use_ema \
      --batch_size=100 --learning_rate=0.1 --lr_schedule=cosine \
      --max_iteration=200000 --crop_padding=2 --scaling=symmetric \
      --precision=float32 --checkpoint_path="$SAVEPATH" --seed="$seed" "$@"
  done
done
