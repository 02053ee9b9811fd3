#!/bin/sh
# Clothing1M: ResNet-50 from ImageNet weights, networks chosen on the clean
# validation images. DATA is the folder of the set (see README.md). Published:
# DivideMix 74.76, Me-Momentum 73.13, cross-entropy 69.21 %. Not run at full
# size with this code.
set -eu
SAVEPATH=${SAVEPATH:-runs}
DATA=${DATA:-clothing1m}
for method in ${METHODS:-dividemix me_momentum supervised}; do
  python -m ieg.main --dataset=clothing1m --data_dir="$DATA" \
    --method="$method" --checkpoint_path="$SAVEPATH" "$@"
done
