#!/bin/sh
# mini-WebVision, evaluated on its validation images and on ImageNet's. DATA is
# the folder of the set (see README.md). Published top-1 on WebVision and
# ImageNet: DivideMix 77.32 and 75.20; IEG 80.0 on WebVision. Not run at full
# size with this code.
set -eu
SAVEPATH=${SAVEPATH:-runs}
DATA=${DATA:-data/tensorflow_datasets}

# DivideMix: Inception-ResNet-v2 from scratch, 299 pixels, 80 epochs.
python -m ieg.main --dataset=webvisionmini --data_dir="$DATA" \
  --method=dividemix --use_imagenet_as_eval=true --checkpoint_path="$SAVEPATH"

# IEG: the command of its code base, on eight GPUs; it finds the set in
# data/tensorflow_datasets, and needs clean images of the 50 classes in probe/.
CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 python -m ieg.main --dataset=webvisionmini \
  --network_name=resnet50 --checkpoint_path="$SAVEPATH/ieg_webvisionmini" \
  --ce_factor=4 --consistency_factor=8 --batch_size=8 --use_imagenet_as_eval=true \
  --val_batch_size=50 --eval_freq=10000 --max_iteration=1000000

# FSR needs no clean images.
CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7 python -m ieg.main --dataset=webvisionmini \
  --data_dir="$DATA" --method=fsr --network_name=resnet50 \
  --use_imagenet_as_eval=true --eval_freq=10000 --checkpoint_path="$SAVEPATH"

python -m ieg.main --dataset=webvisionmini --data_dir="$DATA" \
  --method=supervised --use_imagenet_as_eval=true --checkpoint_path="$SAVEPATH"
