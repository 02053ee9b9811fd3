#!/bin/sh
# The rows of docs/results.md of Co-teaching, Co-teaching+, JoCoR, S2E and
# supervised training: MNIST with LeNet on 8,000 training and 2,000 validation
# images for 40 epochs, and digits. Hours on two cores without a GPU. What was run of
# it, and on which seeds, is said there.
# DATA is the folder of TensorFlow Datasets.
set -eu
SAVEPATH=${SAVEPATH:-runs}
DATA=${DATA:-$HOME/tensorflow_datasets}
# Co-teaching's optimizer and images for the baseline too.
PLAIN="--method=supervised --optimizer=adam --learning_rate=1e-3
  --weight_decay=0 --lr_schedule=linear --crop_padding=0 --scaling=unit"
methods() {
  # shellcheck disable=SC2086
  python -m ieg.main "$@" $PLAIN --checkpoint_path="$SAVEPATH"
  for selection in coteaching coteaching_plus jocor; do
    python -m ieg.main "$@" --method=coteaching --selection=$selection \
      --checkpoint_path="$SAVEPATH/$selection"
  done
}
for seed in ${SEEDS:-1 2 3}; do
  for noise in symmetric_0.2 symmetric_0.5 pairflip_0.45; do
    set -- --dataset=mnist_$noise --data_dir="$DATA" --seed="$seed" \
      --network_name=lenet --train_examples=10000 --valid_ratio=0.2 \
      --max_epoch=40 --batch_size=128
    methods "$@"
    python -m ieg.main "$@" --method=s2e --checkpoint_path="$SAVEPATH" \
      --search_iterations=1 --search_population=4 --search_again=2
  done
  set -- --dataset=digits_symmetric_0.4 --valid_ratio=0.1 --seed="$seed"
  methods "$@"
  python -m ieg.main "$@" --method=s2e --checkpoint_path="$SAVEPATH" \
    --search_iterations=2 --search_population=5 --search_again=2
done
