#!/bin/sh
# The rows of docs/results.md on digits and MNIST with a probe of 10 per class:
# IEG and L2R against supervised training on the noisy images and on the probe
# alone. Three seeds; two cores, no GPU: about two hours.
# DATA is the folder of TensorFlow Datasets.
set -eu
SAVEPATH=${SAVEPATH:-runs}
DATA=${DATA:-$HOME/tensorflow_datasets}
for seed in ${SEEDS:-1 2 3}; do
  for dataset in digits_symmetric_0.6 mnist_uniform_0.8; do
    case $dataset in digits*) share=0.08 ;; *) share=0.00166667 ;; esac
    run() {
      python -m ieg.main --dataset=$dataset --data_dir="$DATA" --seed="$seed" \
        --probe_dataset_hold_ratio=$share --eval_every=5 "$@"
    }
    for method in ieg l2r supervised; do
      run --method=$method --checkpoint_path="$SAVEPATH" "$@"
    done
    run --method=supervised --probe_use=only \
      --checkpoint_path="$SAVEPATH/probe_only" "$@"
  done
done
