#!/bin/sh
# Forouzesh, Sedghi, Thiran, "Leveraging Unlabeled Data to Track Memorization"
# (ICLR 2023), the walk-through on Clothing1M: 19 settings of ResNet, AlexNet
# and VGG with several learning rates and schedules. Published mean and
# deviation of the test accuracy by region:
#   1 61.80 +- 1.64   2 57.89 +- 3.56   3 51.25 +- 17.21   4 51.42 +- 9.71
# The authors do not publish in their code which 19 settings these are; those
# below are chosen here: 9 of ResNet-50 and 6 of VGG-19, from ImageNet weights,
# and 4 of AlexNet, from scratch. Not run at full size with this code.
# DATA is the folder of the set (see README.md); further arguments are passed
# on.
set -eu
SAVEPATH=${SAVEPATH:-runs/memorization_clothing1m}
DATA=${DATA:-clothing1m}

# train NETWORK RATE SCHEDULE [FLAG ...]
train() {
  network=$1 rate=$2 schedule=$3
  shift 3
  case $schedule in
    custom_step) set -- --decay_epochs=10,20 --decay_rate=0.1 "$@" ;;
  esac
  python -m ieg.main --dataset=clothing1m --data_dir="$DATA" \
    --method=supervised --network_name="$network" --max_epoch=30 \
    --learning_rate="$rate" --lr_schedule="$schedule" --weight_decay=1e-3 \
    --track_memorization \
    --checkpoint_path="$SAVEPATH/${network}_${rate}_$schedule" "$@"
}

for schedule in constant custom_step cosine_one; do
  for rate in 0.01 0.002 0.0005; do
    train resnet50 $rate $schedule "$@"
  done
  for rate in 0.002 0.0005; do
    train vgg19 $rate $schedule "$@"
  done
done
for schedule in constant cosine_one; do
  for rate in 0.01 0.001; do
    train alexnet $rate $schedule --pretrained=false "$@"
  done
done
python -m ieg.compare "$SAVEPATH" --out="$SAVEPATH/comparison"
