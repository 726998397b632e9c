"""A dictionary of modules by modality name."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, ValuesView

from torch import nn


class PerModality(nn.Module):
    """Modules by modality name.

    ``nn.ModuleDict`` refuses names that contain a dot or equal one of its own methods (``mrna.tpm``, ``train``); people
    name their modalities as they like.

    Args:
        modules: The module of each modality.

    Example:
        >>> parts = PerModality({"train": nn.Linear(2, 3)})
        >>> parts["train"].out_features, list(parts.state_dict())
        (3, ['of_train.weight', 'of_train.bias'])
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._keys: dict[str, str] = {}
        for name, module in modules.items():
            self[name] = module

    def __setitem__(self, name: str, module: nn.Module) -> None:
        key = "of_" + name.replace("%", "%25").replace(".", "%2E")
        self._keys[name] = key
        self._modules[key] = module

    def __getitem__(self, name: str) -> nn.Module:
        module = self._modules[self._keys[name]]
        assert module is not None
        return module

    def __contains__(self, name: str) -> bool:
        return name in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def items(self) -> ItemsView[str, nn.Module]:
        """Return names and modules."""
        return {name: self[name] for name in self._keys}.items()

    def values(self) -> ValuesView[nn.Module]:
        """Return the modules."""
        return {name: self[name] for name in self._keys}.values()
