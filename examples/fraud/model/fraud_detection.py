"""Fraud in card payments: a logistic regression in Keras, trained by four banks in a swarm.

Written as a program for HPE Swarm Learning is. Each bank has a shard of its own size and kind, made by a seeded
generator, or its own DATA_DIR/train.csv and test.csv (without a header: 30 features and a label).
Environment: SHARD (1 to 4; else SWARM_PEER), DATA_DIR, SCRATCH_DIR, MAX_EPOCHS, MIN_PEERS.
Alone: SWARM_LOOPBACK=true swarm compat -- python fraud_detection.py
"""
import os

import numpy as np
import tensorflow as tf
from swarmlearning.tf import SwarmCallback

SHARDS = {1: 3500, 2: 4000, 3: 2500, 4: 989}
FEATURES = 30
BATCH_SIZE = 32
SYNC_FREQUENCY = 64


def payments(seed, count, prevalence, shift):
    """Features of fraud lie along one direction, the same everywhere; ordinary payments differ from bank to bank."""
    direction = np.random.default_rng(0).normal(size=FEATURES)
    random = np.random.default_rng(seed)
    y = (random.random(count) < prevalence).astype('float32')
    x = random.normal(size=(count, FEATURES)) + np.outer(y - 0.5, direction) * 0.8
    x += shift * np.random.default_rng(seed + 100).normal(size=FEATURES) * (1 - y[:, None])
    return x.astype('float32'), y


def load(data_dir, shard):
    """(x_train, y_train), (x_test, y_test); everybody tests on the same payments."""
    files = [os.path.join(data_dir, name) for name in ('train.csv', 'test.csv')]
    if all(map(os.path.exists, files)):
        tables = [np.loadtxt(file, delimiter=',', dtype='float32') for file in files]
        return [(table[:, :FEATURES], table[:, FEATURES]) for table in tables]
    return payments(shard, SHARDS[shard], 0.04 * shard, 0.3), payments(99, 1000, 0.1, 0.0)


def main():
    shard = int(os.environ.get('SHARD', int(os.environ.get('SWARM_PEER', 0)) + 1))
    data_dir = os.environ.get('DATA_DIR', 'app-data')
    scratch_dir = os.environ.get('SCRATCH_DIR', '.')
    max_epochs = int(os.environ.get('MAX_EPOCHS', 4))
    min_peers = int(os.environ.get('MIN_PEERS', 4))

    (x_train, y_train), (x_test, y_test) = load(data_dir, shard)
    print('shard', shard, ':', len(x_train), 'payments,', int(y_train.sum()), 'of them fraud')

    model = tf.keras.models.Sequential([
        tf.keras.layers.Dense(1, activation='sigmoid', input_shape=(FEATURES,)),
    ])
    model.compile(optimizer=tf.keras.optimizers.SGD(lr=0.01, nesterov=True, momentum=0.9),
                  loss='binary_crossentropy', metrics=[tf.keras.metrics.AUC(name='auc')])

    swarmCallback = SwarmCallback(syncFrequency=SYNC_FREQUENCY,
                                  minPeers=min_peers,
                                  adsValData=(x_test, y_test),
                                  adsValBatchSize=256,
                                  nodeWeightage='auto',
                                  samples=len(x_train),
                                  totalEpochs=max_epochs)
    swarmCallback.logger.info('training begins')
    model.fit(x_train, y_train, batch_size=BATCH_SIZE, epochs=max_epochs, verbose=2, callbacks=[swarmCallback])

    loss, auc = model.evaluate(x_test, y_test, verbose=0)
    print(f'final model: AUC {auc:.4f}, loss {loss:.4f}')
    model.save(os.path.join(scratch_dir, f'fraud-{shard - 1}'))


if __name__ == '__main__':
    main()
