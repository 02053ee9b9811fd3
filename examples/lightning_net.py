"""A module of PyTorch Lightning."""

import pytorch_lightning as pl
import torch
from noisy_digits import COUNT, EPOCHS, TRAIN, show, x, y
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from ieg import LabelTracker
from ieg.integrations.lightning import LabelAudit


class Net(LabelAudit, pl.LightningModule):
    """A network with one hidden layer."""

    def __init__(self):
        super().__init__()
        layers = nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
        self.layers = nn.Sequential(*layers)

    def training_step(self, batch, batch_idx):
        """Returns what `LabelAudit` records, with the loss."""
        images, targets, index = batch
        logits = self.layers(images)
        loss = nn.functional.cross_entropy(logits, targets)
        return {'loss': loss, 'logits': logits.detach(), 'index': index}

    validation_step = training_step

    def configure_optimizers(self):
        """Returns the optimizer."""
        return torch.optim.Adam(self.parameters(), 3e-3)


pl.seed_everything(0, verbose=False)
data = TensorDataset(torch.tensor(x), torch.tensor(y), torch.arange(COUNT))
net = Net()
net.tracker = LabelTracker(y)
quiet = {
    name: False
    for name in (
        'logger',
        'enable_checkpointing',
        'enable_progress_bar',
        'enable_model_summary',
    )
}
trainer = pl.Trainer(max_epochs=EPOCHS, accelerator='cpu', **quiet)
trainer.fit(
    net,
    DataLoader(Subset(data, range(TRAIN)), 32, shuffle=True),
    DataLoader(Subset(data, range(TRAIN, COUNT)), 256),
)
show(net.tracker)
