"""A method of balanced learning in a LightningModule: ``pip install lightning``, ``python examples/lightning_module.py``."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader

from equipoise.integrations.lightning import Balanced


class Net(Balanced, lightning.LightningModule):
    """The upper five and the lower three rows of digits, each with an encoder."""

    def __init__(self, method: str = "ogm") -> None:
        super().__init__()
        self.method = method
        self.upper = nn.Sequential(nn.Linear(40, 64), nn.ReLU())
        self.lower = nn.Sequential(nn.Linear(24, 64), nn.ReLU())
        self.head = nn.Linear(128, 10)

    def balancing(self) -> dict[str, Any]:
        """Return what the method works on."""
        return {
            "method": self.method,
            "encoders": {"upper": self.upper, "lower": self.lower},
            "fusion": self.head,
            "classes": 10,
            "example": {"upper": torch.zeros(2, 40), "lower": torch.zeros(2, 24)},
        }

    def training_step(self, batch: tuple[dict[str, Tensor], Tensor], number: int) -> None:
        """Train on a batch: gradients, steps, and what the method does between them."""
        inputs, target = batch
        self.log("loss", self.balanced_step(inputs, target))

    def validation_step(self, batch: tuple[dict[str, Tensor], Tensor], number: int) -> None:
        """Log the accuracy of the model and of each modality in it."""
        inputs, target = batch
        outputs = self.balancer.predict(inputs)
        for name, logits in {"fused": outputs.logits, **outputs.unimodal}.items():
            self.log(f"accuracy.{name}", (logits.argmax(1) == target).float().mean(), batch_size=len(target))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer."""
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def main(epochs: int = 8, **options: Any) -> dict[str, float]:
    """Train, and print what was logged last."""
    lightning.seed_everything(0, verbose=False)
    digits = load_digits()
    pixels, target = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    samples = [({"upper": row[:40], "lower": row[40:]}, label) for row, label in zip(pixels, target, strict=True)]
    trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, **options)
    trainer.fit(Net(), DataLoader(samples[:1200], 64, shuffle=True), DataLoader(samples[1200:], 256))
    found = {name: round(float(value), 3) for name, value in trainer.callback_metrics.items()}
    print(found)
    return found


if __name__ == "__main__":
    main()
