"""The Trainer of Hugging Face, with a small model of your own."""

import torch
import transformers
from noisy_digits import COUNT, EPOCHS, TRAIN, show, x, y
from torch import nn

from ieg import LabelTracker
from ieg.integrations.transformers import LabelAudit


class Trainer(LabelAudit, transformers.Trainer):
    """Records the logits of its steps."""


class Net(nn.Module):
    """A network with one hidden layer, in the form of a transformer."""

    def __init__(self):
        super().__init__()
        layers = nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
        self.layers = nn.Sequential(*layers)

    def forward(self, pixels, labels=None):
        """Returns the loss and the logits."""
        logits = self.layers(pixels)
        loss = nn.functional.cross_entropy(logits, labels)
        return {'loss': loss, 'logits': logits}


transformers.set_seed(0)
rows = [
    {'pixels': torch.tensor(x[i]), 'labels': int(y[i]), 'index': i}
    for i in range(COUNT)
]
arguments = transformers.TrainingArguments(
    'runs/hugging_face',
    num_train_epochs=EPOCHS,
    per_device_train_batch_size=32,
    learning_rate=3e-3,
    eval_strategy='epoch',
    save_strategy='no',
    report_to='none',
    disable_tqdm=True,
    use_cpu=True,
    remove_unused_columns=False,  # Keeps index.
)
trainer = Trainer(
    Net(), arguments, train_dataset=rows[:TRAIN], eval_dataset=rows[TRAIN:]
)
trainer.tracker = LabelTracker(y)
trainer.train()
show(trainer.tracker)
