"""A loop of PyTorch: six lines more, marked with #."""

import torch
from noisy_digits import COUNT, EPOCHS, TRAIN, show, x, y
from torch import nn

from ieg import LabelTracker  #

torch.manual_seed(0)
images, labels = torch.tensor(x), torch.tensor(y)
index = torch.arange(COUNT)
data = torch.utils.data.TensorDataset(images, labels, index)
train = torch.utils.data.Subset(data, range(TRAIN))
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), 3e-3)

tracker = LabelTracker(labels)  #
for epoch in range(EPOCHS):
    for batch, targets, rows in torch.utils.data.DataLoader(train, 32, True):
        logits = model(batch)
        tracker.update(rows, logits=logits, epoch=epoch)  #
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, targets).backward()
        optimizer.step()
    with torch.no_grad():  #
        tracker.held_out(index[TRAIN:], model(images[TRAIN:]), epoch)  #
show(tracker)  # also tracker.issues(), tracker.report('labels.html')
