"""Where the caller trains: the device of the modules, and the number format around a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from equipoise.errors import ConfigError
from equipoise.training.runtime import Runtime


class CallersRuntime(Runtime):
    """The device of the caller's modules, and the number format in force where the caller asks for a step."""

    _dtype: torch.dtype | None = None

    @contextmanager
    def callers_format(self) -> Iterator[None]:
        """Keep the caller's number format for forward passes alone, as the loop of ``fit`` does.

        Raises:
            ConfigError: It is float16.
        """
        kind = self.device.type
        self._dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        if self._dtype == torch.float16:
            raise ConfigError("autocast to float16 needs scaled gradients, which methods cannot read; expected bfloat16")
        with nullcontext() if self._dtype is None else torch.autocast(kind, enabled=False):
            yield

    def autocast(self) -> AbstractContextManager[Any]:
        if self._dtype is None:
            return nullcontext()
        torch.clear_autocast_cache()  # inside the caller's context, weights cast before the last step would be used again
        return torch.autocast(self.device.type, self._dtype)
