"""The grid of frames.

This is the only place where loop indices become frame numbers, and frame numbers loop indices.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nd2._core import errors
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from nd2._core.frames.selection import Pick


@record
class FrameGrid:
    """Frames on the axes of loops: ``frame = first + sum(index * step)``.

    Attributes
    ----------
    loops : tuple of (str, int, int)
        Name, count and step of each loop, outermost first.
    first : int
        Sequence index of the frame at the origin.
    dims : tuple of str
        The loops that are axes, in their order. The first item of other loops is used.
    """

    loops: tuple[tuple[str, int, int], ...]
    first: int = 0
    dims: tuple[str, ...] = ()

    @classmethod
    def from_counts(cls, counts: Iterable[tuple[str, int]]) -> FrameGrid:
        """Nest loops of these names and counts, outermost first; all of them are axes."""
        loops: list[tuple[str, int, int]] = []
        step = 1
        for name, count in reversed(list(counts)):
            loops.insert(0, (name, count, step))
            step *= count
        return cls(tuple(loops), 0, tuple(name for name, _, _ in loops))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all loops."""
        return tuple(name for name, _, _ in self.loops)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Counts of all loops."""
        return tuple(count for _, count, _ in self.loops)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Size of each of ``dims``."""
        return tuple(count for name, count, _ in self.loops if name in self.dims)

    @cached_property
    def size(self) -> int:
        """Number of frames."""
        return math.prod(self.counts)

    def frames(self, picks: Sequence[Pick] | None = None) -> NDArray[np.intp]:
        """Return the frames at positions on ``dims`` (all by default), an axis for each dim."""
        picks = [range(size) for size in self.shape] if picks is None else picks
        frames = np.full((), self.first, np.intp)
        for pick, step in zip(picks, self._steps, strict=True):
            where = np.arange(pick.start, pick.stop, pick.step) if type(pick) is range else pick
            frames = np.add.outer(frames, np.multiply(where, step, dtype=np.intp))
        return frames

    def single_frame(self, picks: Sequence[Pick]) -> int | None:
        """Return the frame that positions take, as `frames` does; None unless it is one."""
        frame = self.first
        for pick, step in zip(picks, self._steps, strict=True):
            if len(pick) != 1:
                return None
            frame += int(pick[0]) * step
        return frame

    @cached_property
    def _steps(self) -> list[int]:
        return [step for name, _, step in self.loops if name in self.dims]

    def frame(self, indices: Sequence[int]) -> int:
        """Return the frame that has these indices on all loops, outermost first.

        Raises
        ------
        IndexError
            If there are not as many indices as loops, or one is out of range.
        """
        if len(indices) != len(self.loops):
            raise IndexError(
                f"loop indices {tuple(indices)}: one index is needed for each of "
                f"{errors.plural(len(self.loops), 'loop')}{': ' * bool(self.names)}{', '.join(self.names)}"
            )
        frame = self.first
        for index, (name, count, step) in zip(indices, self.loops, strict=True):
            if not 0 <= index < count:
                raise IndexError(
                    f"loop indices {tuple(indices)}: {index} is out of range for loop {name!r} of size {count}"
                )
            frame += int(index) * step
        return frame

    def indices(self, frames: NDArray[np.intp]) -> dict[str, NDArray[np.intp]]:
        """Return the index on every loop of frames that the grid holds."""
        # From the widest step on: what the other loops add is always less than one of its steps.
        lowest = self.first + sum(min(0, (count - 1) * step) for _, count, step in self.loops)
        rest = np.asarray(frames) - lowest
        indices = {name: np.zeros(rest.shape, np.intp) for name in self.names}
        for name, count, step in sorted(self.loops, key=lambda loop: -abs(loop[2])):
            # Steps of damaged loops may not fit into 64 bits; then no frame is at the second one.
            if count > 1 and abs(step) <= np.iinfo(np.intp).max:
                # Division takes long, and the innermost loop does not need it.
                index, rest = np.divmod(rest, abs(step)) if abs(step) > 1 else (rest, rest * 0)
                indices[name] = index if step > 0 else count - 1 - index
        return indices

    def loop_index(self, loop: str, frame: int) -> int:
        """Return the index on one loop of a frame, for a grid as `from_counts` makes it."""
        _, count, step = self._loop(loop)
        return frame // step % count

    def all_indices(self) -> dict[str, NDArray[np.intp]]:
        """Return the index on every loop of all frames, in the order of the loops."""
        grids = np.indices(self.counts, np.intp).reshape(len(self.loops), self.size)
        return dict(zip(self.names, grids, strict=True))

    def steps(self, loop: str) -> NDArray[np.intp]:
        """Return the first frame of each step of a loop."""
        _, count, step = self._loop(loop)
        if step == 1:
            return np.arange(self.first, self.first + count)
        return self.first + np.arange(count) * step

    def _loop(self, loop: str) -> tuple[str, int, int]:
        return next(one for one in self.loops if one[0] == loop)

    def fix(self, loop: str, index: int) -> FrameGrid:
        """Return the grid at one index of a loop; the loop stays, with one item."""
        step = self._loop(loop)[2]
        loops = tuple((name, 1 if name == loop else n, s) for name, n, s in self.loops)
        return replace(self, loops=loops, first=self.first + index * step)

    def with_dims(self, dims: Collection[str]) -> FrameGrid:
        """Return the same frames with those loops as axes that ``dims`` names."""
        return replace(self, dims=tuple(name for name in self.names if name in dims))

    def drop_dims(self, dims: Collection[str]) -> FrameGrid:
        """Return the same frames without these axes, which have one item."""
        return replace(self, dims=tuple(dim for dim in self.dims if dim not in dims))

    def narrow(self, picks: Mapping[str, range]) -> FrameGrid:
        """Return the part of the grid at some positions on loops; all loops stay axes."""
        first, loops = self.first, []
        for name, count, step in self.loops:
            pick = picks.get(name, range(count))
            first += step * pick.start if pick else 0
            loops.append((name, len(pick), step * pick.step if len(pick) > 1 else step))
        return replace(self, loops=tuple(loops), first=first)
