#!/bin/sh
# Susceptibility against the fit on wrong labels, in minutes: 32 perceptrons on
# the digits with 50 % noise (2 widths x 2 depths x dropout x 2 learning rates
# x 2 weight decays), one cosine of 60 epochs each. Results: docs/results.md.
set -eu
cd "$(dirname "$0")"
SAVEPATH=${SAVEPATH:-../runs/memorization_digits}
for network in mlp32x2 mlp32x2d mlp32x4 mlp32x4d \
  mlp256x2 mlp256x2d mlp256x4 mlp256x4d; do
  for rate in 0.02 0.1; do
    for decay in 0 5e-3; do
      python -m ieg.main --plugin=mlp --dataset=digits_uniform_0.5 \
        --method=supervised --network_name="$network" --noise_seed=1 \
        --learning_rate="$rate" --weight_decay="$decay" --max_epoch=60 \
        --lr_schedule=cosine_one --crop_padding=0 --batch_size=64 \
        --track_memorization \
        --checkpoint_path="$SAVEPATH/$network-$rate-$decay" "$@"
    done
  done
done
python -m ieg.compare "$SAVEPATH" --out="$SAVEPATH/comparison"
