#!/bin/sh
# Co-teaching (Han et al., NeurIPS 2018), tables 3 to 5: CNN-9, 200 epochs, mean
# test accuracy of the last ten epochs over five runs.
#   MNIST     pairflip 0.45 87.63, symmetric 0.5 91.32, symmetric 0.2 97.25
#   CIFAR-10  72.62, 74.02, 82.32        CIFAR-100  34.81, 41.37, 54.23
# Not run with this code yet. --dropout_mode=off is what those runs had.
# DATA is the folder of TensorFlow Datasets; further arguments are passed on.
set -eu
SAVEPATH=${SAVEPATH:-runs}
DATA=${DATA:-$HOME/tensorflow_datasets}
METHOD=${METHOD:-coteaching}   # or s2e
SELECTION=${SELECTION:-coteaching}   # or coteaching_plus, jocor
for seed in ${SEEDS:-1 2 3 4 5}; do
  for base in mnist cifar10 cifar100; do
    for noise in pairflip_0.45 symmetric_0.5 symmetric_0.2; do
      python -m ieg.main --dataset=${base}_$noise --data_dir="$DATA" \
        --method="$METHOD" --selection="$SELECTION" --dropout_mode=off \
        --noise_sampler=coteaching --noise_seed=0 --seed="$seed" \
        --checkpoint_path="$SAVEPATH/$SELECTION" "$@"
    done
  done
done
