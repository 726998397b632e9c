"""A method inside a LightningModule, by manual optimisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from equipoise.errors import ConfigError, RunError
from equipoise.integrations.loop import Balancer


class Balanced:
    """What makes a LightningModule train by a method: derive from this first and from ``LightningModule`` second.

    :meth:`balancing` says how, ``configure_optimizers`` returns the one optimizer (alone or with a scheduler, which you step
    yourself, as always with manual optimisation), and ``training_step`` calls :meth:`balanced_step`::

        class Net(Balanced, lightning.LightningModule):
            def balancing(self):
                encoders = {"audio": self.audio, "video": self.video}
                return {"method": "ogm", "encoders": encoders, "fusion": self.head, "classes": 10, "example": self.example}

            def training_step(self, batch, number):
                return self.balanced_step(*batch)

    Steps count in ``global_step``, the coefficients of the method are logged at the end of each epoch, and checkpoints hold the
    state of the method. :attr:`balancer` predicts, also of a module that was loaded from a checkpoint and is not fitted.
    """

    _balancer: Balancer | None = None
    _balancer_state: dict[str, Any] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Behind LightningModule the hooks below would never be called.
        owners = [place for place, item in enumerate(cls.__mro__) if "automatic_optimization" in vars(item)]
        if owners and owners[-1] < cls.__mro__.index(Balanced):
            raise ConfigError(f"class {cls.__name__}: Balanced comes after LightningModule, expected it as the first base class")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.automatic_optimization = False

    def balancing(self) -> dict[str, Any]:
        """Return the arguments of the Balancer, but ``optimizer`` and ``epochs``: to be written by you."""
        raise NotImplementedError(f"{type(self).__name__}.balancing: return the arguments of the Balancer")

    def balanced_step(
        self,
        inputs: Mapping[str, Tensor],
        target: Tensor,
        *,
        present: Mapping[str, Tensor] | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Make the updates of a batch; see :meth:`~equipoise.integrations.loop.Balancer.step`."""
        optimizer, total = self._lightning.optimizers(), target.new_zeros((), dtype=self._lightning.dtype)
        for loss in self.balancer.updates(inputs, target, present=present, index=index):
            optimizer.step()
            total = total + loss
        return total

    @property
    def balancer(self) -> Balancer:
        """The Balancer: that of the fit, or else one that predicts, with the state of the checkpoint that was loaded last."""
        if self._balancer is None:
            with torch.inference_mode(False), torch.enable_grad():
                self._balancer = self._made(torch.optim.SGD(self._lightning.parameters(), lr=0.0), 1)
        return self._balancer

    def _made(self, optimizer: torch.optim.Optimizer, epochs: int) -> Balancer:
        try:
            arguments = {"epochs": epochs, **self.balancing()}
        except AttributeError as error:  # a property must not raise it: the module would say that there is no balancer
            raise ConfigError(f"{type(self).__name__}.balancing: {error}") from error
        made = Balancer(arguments.pop("method"), optimizer=optimizer, **arguments)
        if self._balancer_state is not None:
            made.load_state_dict(self._balancer_state)
        return made

    @property
    def _lightning(self) -> Any:
        """This object, as the LightningModule that it also is."""
        return self

    def on_fit_start(self) -> None:
        """Make the Balancer, now that modules are where they train and the optimizer exists.

        Raises:
            ConfigError: There are several devices or optimizers, no limit to the epochs, or optimisation is automatic.
        """
        super().on_fit_start()  # type: ignore[misc]
        if self._lightning.automatic_optimization:
            raise ConfigError(
                "automatic_optimization = True: a method makes the updates itself, expected False, as Balanced sets it"
            )
        trainer, optimizers = self._lightning.trainer, self._lightning.optimizers()
        if isinstance(optimizers, list):
            raise ConfigError(f"configure_optimizers: expected one optimizer, found {len(optimizers)}")
        if trainer.world_size > 1:
            raise ConfigError(
                f"trainer: expected one device, found {trainer.world_size}; in a loop of your own there may be more"
            )
        if trainer.max_epochs is None or trainer.max_epochs < 1:
            raise ConfigError(
                f"trainer: max_epochs = {trainer.max_epochs}, expected the number of epochs, which methods count in"
            )
        self._balancer = self._made(optimizers.optimizer, trainer.max_epochs)
        self._balancer_state = None

    def on_train_epoch_start(self) -> None:
        """Start the epoch of the method."""
        super().on_train_epoch_start()  # type: ignore[misc]
        self.balancer.start_epoch()

    def on_train_epoch_end(self) -> None:
        """End the epoch of the method and log its coefficients."""
        self.balancer.end_epoch()
        self._lightning.log_dict(self.balancer.log[-1]["coefficients"])
        super().on_train_epoch_end()  # type: ignore[misc]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the state of the method into a checkpoint."""
        super().on_save_checkpoint(checkpoint)  # type: ignore[misc]
        checkpoint["equipoise"] = self.balancer.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the state of the method from a checkpoint, for when fitting goes on or the module predicts.

        Raises:
            RunError: There is none in it.
        """
        super().on_load_checkpoint(checkpoint)  # type: ignore[misc]
        if "equipoise" not in checkpoint:
            raise RunError("the checkpoint holds no state of a method, expected one of a module that derives from Balanced")
        self._balancer, self._balancer_state = None, checkpoint["equipoise"]
