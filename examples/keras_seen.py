"""`fit` of Keras on TensorFlow: predictions of the training steps."""

import keras
import numpy as np
from noisy_digits import EPOCHS, TRAIN, show, x, y

from ieg.integrations.keras import LabelAudit, Seen


class Model(Seen, keras.Model):
    """Remembers what its steps predict."""


keras.utils.set_random_seed(0)
inputs = keras.Input(x.shape[1:])
hidden = keras.layers.Dense(64, activation='relu')(inputs)
model = Model(inputs, keras.layers.Dense(10, activation='softmax')(hidden))
model.compile('adam', 'sparse_categorical_crossentropy', metrics=['accuracy'])

audit = LabelAudit(None, y[:TRAIN], held_out=(x[TRAIN:], y[TRAIN:]))
labels = np.arange(TRAIN), y[:TRAIN]
model.fit(x[:TRAIN], labels, epochs=EPOCHS, verbose=0, callbacks=[audit])
show(audit.tracker)
