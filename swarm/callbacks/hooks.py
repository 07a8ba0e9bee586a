"""The hooks that a training loop of one's own calls, as HPE's PyTorch programs do.

Base of the callbacks for PyTorch and scikit-learn. What each hook does: ``callbacks/training``.
"""

from __future__ import annotations

from swarm.callbacks.arguments import Given
from swarm.callbacks.training import Framework, Model, Training


class Hooks:
    def __init__(self, framework: Framework, model: Model, given: Given) -> None:
        self._training = Training(framework, model, given)
        self.logger = self._training.logger

    @property
    def training_over(self) -> bool:
        """The swarm's training is over: no more merges, a loop may stop; `on_train_end` gets the final model."""
        return self._training.over

    @property
    def initial_epoch(self) -> int:
        """Epochs that were complete at the checkpoint; 0 without one."""
        return self._training.epochs

    def on_train_begin(self) -> None:
        """Enrol, and start from the swarm's model. Waits for the other peers."""
        self._training.begin()

    def on_batch_end(self, batch: int | None = None) -> None:
        """One more batch was trained, whatever its number."""
        self._training.batch()

    def on_epoch_end(self, epoch: int | None = None) -> None:
        self._training.epoch()

    def on_train_end(self) -> None:
        """Wait for the others, and end with the final model."""
        self._training.end()

    def close(self) -> None:
        """Leave without the final model. Never waits."""
        self._training.close()
