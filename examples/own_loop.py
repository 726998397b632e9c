"""A method of balanced learning in a PyTorch loop of your own: ``python examples/own_loop.py``."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader

import equipoise


class Net(nn.Module):
    """A model as people have it: an encoder per modality, a head on the concatenated features."""

    def __init__(self) -> None:
        super().__init__()
        self.upper = nn.Sequential(nn.Linear(40, 64), nn.ReLU())
        self.lower = nn.Sequential(nn.Linear(24, 64), nn.ReLU())
        self.head = nn.Linear(128, 10)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return logits of shape (batch, 10)."""
        features = [self.upper(inputs["upper"]), self.lower(inputs["lower"])]
        logits: Tensor = self.head(torch.cat(features, 1))
        return logits


def parts() -> tuple[list[Any], tuple[dict[str, Tensor], Tensor]]:
    """Return the training part as a data set and the test part as tensors: the upper five and the lower three rows of digits."""
    digits = load_digits()
    pixels, target = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    inputs = {"upper": pixels[:, :40], "lower": pixels[:, 40:]}
    train = [({name: value[row] for name, value in inputs.items()}, target[row]) for row in range(1200)]
    return train, ({name: value[1200:] for name, value in inputs.items()}, target[1200:])


def show(balancer: equipoise.Balancer, words: str, inputs: dict[str, Tensor], target: Tensor) -> dict[str, float]:
    """Print and return the accuracy of the model and of each modality in it."""
    outputs = balancer.predict(inputs)
    every = {"fused": outputs.logits, **outputs.unimodal}
    accuracy = {name: float((logits.argmax(1) == target).float().mean()) for name, logits in every.items()}
    print(f"{words:6}", ", ".join(f"{name} {value:.3f}" for name, value in accuracy.items()))
    return accuracy


def main(method: str = "ogm", epochs: int = 15) -> dict[str, float]:
    """Train; the lines with a comment are what a method adds."""
    torch.manual_seed(0)
    train, test = parts()
    loader = DataLoader(train, batch_size=64, shuffle=True)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)

    balancer = equipoise.Balancer(  # 1: made once
        method,
        encoders={"upper": model.upper, "lower": model.lower},
        fusion=model.head,
        optimizer=optimizer,
        epochs=epochs,
        classes=10,
        example=test[0],
    )
    show(balancer, "before", *test)
    for _ in range(epochs):
        model.train()
        with balancer.epoch():  # 2: around the batches of an epoch
            for inputs, target in loader:
                balancer.step(inputs, target)  # 3: instead of zero_grad, forward pass, loss, backward and step
        scheduler.step()
    print("       coefficients:", {name: round(value, 3) for name, value in balancer.log[-1]["coefficients"].items()})
    return show(balancer, "after", *test)


if __name__ == "__main__":
    main()
