"""`fit` of Keras, with any backend: a pass after each epoch."""

import keras
from noisy_digits import EPOCHS, TRAIN, show, x, y

from ieg.integrations.keras import LabelAudit

keras.utils.set_random_seed(0)
network = [keras.layers.Dense(64, activation='relu'), keras.layers.Dense(10)]
model = keras.Sequential([keras.Input(x.shape[1:]), *network])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile('adam', loss)

held_out = x[TRAIN:], y[TRAIN:]
audit = LabelAudit(x[:TRAIN], y[:TRAIN], held_out=held_out)
model.fit(x[:TRAIN], y[:TRAIN], epochs=EPOCHS, verbose=0, callbacks=[audit])
show(audit.tracker)
