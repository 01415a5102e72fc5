"""The value type of everything beside the pixels: axes, values, attributes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.io import ByteSource
    from xarray_nd2.dataset.lazy import Lazy


@dataclass(frozen=True)
class VariableModel:
    """A variable: its axes, its values, and its attributes.

    Attributes
    ----------
    dims : tuple of str
        Axes.
    values : ndarray or Lazy
        Values in memory, or an array that reads them when it is indexed; ``numpy.asarray`` takes either.
    attrs : dict
        Attributes: str, numbers and lists of numbers.
    """

    dims: tuple[str, ...]
    values: NDArray[Any] | Lazy
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def in_memory(self) -> bool:
        """Whether the values are there, and nothing has to be read."""
        return isinstance(self.values, np.ndarray)

    def with_source(self, source: ByteSource) -> VariableModel:
        """Return the same variable, read from another source of the same bytes."""
        if isinstance(self.values, np.ndarray):
            return self
        return replace(self, values=self.values.with_source(source))

    def on(self, dims: tuple[str, ...]) -> VariableModel:
        """Return the variable, held in memory, without the axes that are not among ``dims``, at their first item."""
        if set(dims).issuperset(self.dims):
            return self
        key = tuple(slice(None) if dim in dims else 0 for dim in self.dims)
        kept = tuple(dim for dim in self.dims if dim in dims)
        return replace(self, dims=kept, values=np.asarray(np.asarray(self.values)[key]))
