#!/bin/sh
# Forouzesh, Sedghi, Thiran, "Leveraging Unlabeled Data to Track Memorization"
# (ICLR 2023), the study on CIFAR-10 with 50 % noise: networks x learning rates
# x schedules, each in the plane of train accuracy and susceptibility. The
# authors' code: batch 128, 200 epochs, SGD, momentum 0.9, weight decay 5e-4,
# learning rate 0.1 with a cosine; the noise draws among all classes, so 45 %
# of the labels are wrong. The grid of their appendix B is not at hand: rates
# and schedules, and the networks in place of theirs, are chosen here.
# Not run at full size with this code.
# DATA is the folder of TensorFlow Datasets; further arguments are passed on.
set -eu
SAVEPATH=${SAVEPATH:-runs/memorization_cifar10}
DATA=${DATA:-$HOME/tensorflow_datasets}
for network in ${NETWORKS:-resnet18 preact_resnet18 vgg19_bn alexnet cnn9 wrn28-2}; do
  for rate in ${RATES:-0.1 0.01 0.001}; do
    for schedule in ${SCHEDULES:-constant custom_step cosine_one exponential}; do
      case $schedule in
        custom_step) drops="--decay_epochs=100,150 --decay_rate=0.1" ;;
        exponential) drops="--decay_epochs=1 --decay_rate=0.98" ;;
        *) drops= ;;
      esac
      # shellcheck disable=SC2086  # $drops is several words.
      python -m ieg.main --dataset=cifar10_uniform_0.5 --noise_seed=1 \
        --data_dir="$DATA" --method=supervised \
        --network_name="$network" --max_epoch=200 \
        --batch_size=128 --learning_rate="$rate" --weight_decay=5e-4 \
        --lr_schedule="$schedule" $drops --track_memorization \
        --checkpoint_path="$SAVEPATH/${network}_${rate}_$schedule" "$@"
    done
  done
done
python -m ieg.compare "$SAVEPATH" --out="$SAVEPATH/comparison"
