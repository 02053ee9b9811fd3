#!/bin/sh
# Me-Momentum (Bai, Liu, ICCV 2021): MNIST with LeNet, CIFAR-10 with ResNet-18,
# CIFAR-100 with ResNet-34; symmetric and instance-dependent noise of 20 % and
# 40 %. CIFAR-10 as quoted in later papers: symmetric 91.44 and 88.39, instance
# 90.86 and 86.66. Noise and split are those of the authors' code, seed 1.
# Not run with this code yet.
# DATA is the folder of TensorFlow Datasets; further arguments are passed on.
set -eu
SAVEPATH=${SAVEPATH:-runs}
DATA=${DATA:-$HOME/tensorflow_datasets}
for seed in ${SEEDS:-1 2 3}; do
  for base in mnist cifar10 cifar100; do
    for noise in symmetric_0.2 symmetric_0.4 instance_0.2 instance_0.4; do
      python -m ieg.main --dataset=${base}_$noise --data_dir="$DATA" \
        --method=me_momentum --noise_sampler=memomentum --noise_seed=1 \
        --seed="$seed" --checkpoint_path="$SAVEPATH" "$@"
    done
  done
done
