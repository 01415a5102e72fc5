"""The grid of frames, and the axes of a file.

This is the only place where loop indices become frame numbers, and frame numbers loop indices.

Frames are numbered in the order of the loops, the outermost slowest. A frame holds all channels,
so the axes are the loops (``T`` time, ``P`` position, ``Z`` stack, ``U`` custom), then ``C Y X``,
and ``S`` for color.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from nd2._core import errors
from nd2._core.format.inflate import MAX_RATIO
from nd2._core.structures import LOOP_AXES
from nd2._core.values import cached_property, record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from nd2._core.frames.selection import Pick
    from nd2._core.structures import Attributes, ExpLoop


@record
class FrameGrid:
    """Frames on the axes of loops: ``frame = first + sum(index * step)``.

    ``loops`` are name, count and step of each, outermost first. ``dims`` are those that are axes, in their order;
    the first item of the others is used.
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
        """Return the frame that has these indices on all loops, outermost first."""
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
        return self.first + np.arange(count) * step

    def _loop(self, loop: str) -> tuple[str, int, int]:
        return next(one for one in self.loops if one[0] == loop)

    def fix(self, loop: str, index: int) -> FrameGrid:
        """Return the grid at one index of a loop; the loop stays, with one item."""
        return self.narrow({loop: range(index, index + 1)})

    def with_dims(self, dims: Collection[str]) -> FrameGrid:
        """Return the same frames with those loops as axes that ``dims`` names."""
        return replace(self, dims=tuple(name for name in self.names if name in dims))

    def narrow(self, picks: Mapping[str, range]) -> FrameGrid:
        """Return the part of the grid at some positions on loops; all loops stay axes."""
        first, loops = self.first, []
        for name, count, step in self.loops:
            pick = picks.get(name, range(count))
            first += step * pick.start if pick else 0
            loops.append((name, len(pick), step * pick.step if len(pick) > 1 else step))
        return replace(self, loops=tuple(loops), first=first)


def loop_counts(experiment: Iterable[ExpLoop]) -> tuple[tuple[str, int], ...]:
    """Return the name and count of each loop that is an axis; nested ones of a kind are numbered."""
    loops: list[tuple[str, int]] = []
    for loop in experiment:
        letter = LOOP_AXES[loop.type]
        if letter == "C":
            continue  # spectral loops are channels, which share a frame
        same = sum(name[0] == letter for name, _ in loops)
        loops.append((f"{letter}{same + 1}" if same else letter, loop.count))
    return tuple(loops)


@record
class Layout:
    """Axes of a file.

    ``loops`` are name and count of each that makes an axis, outermost first, including those of one
    item. If loops of one kind are nested, the inner ones are numbered: ``T``, ``T2``.
    """

    loops: tuple[tuple[str, int], ...]
    channels: int
    height: int
    width: int
    samples: int

    @classmethod
    def from_experiment(cls, experiment: Sequence[ExpLoop], attributes: Attributes) -> Layout:
        """Derive the axes from the loops and the pixel geometry."""
        loops, (channels, samples) = loop_counts(experiment), split_components(attributes)
        return cls(loops, channels, attributes.heightPx, attributes.widthPx or 0, samples)

    def with_all_loops(self) -> Layout:
        """Return the layout with a loop of one item for each of T, P and Z that the file lacks."""
        loops = list(self.loops)
        for letter in "TPZ":
            if letter not in dict(loops):
                later = [i for i, (name, _) in enumerate(loops) if "TPZ".find(name[0]) > "TPZ".find(letter)]
                loops.insert(later[0] if later else len(loops), (letter, 1))
        return replace(self, loops=tuple(loops))

    @cached_property
    def grid(self) -> FrameGrid:
        """The frames on the axes of the loops."""
        return FrameGrid.from_counts(self.loops)

    @property
    def frame_count(self) -> int:
        """Number of frames that the loops make: the product of their counts, 1 without loops."""
        return self.grid.size

    @cached_property
    def all_sizes(self) -> dict[str, int]:
        """Sizes of all axes, those of size 1 included; ``S`` for color only."""
        sizes = {**dict(self.loops), "C": self.channels, "Y": self.height, "X": self.width}
        return {**sizes, "S": self.samples} if self.samples > 1 else sizes

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Sizes of the axes that are longer than 1, as in ``ND2File.sizes``."""
        return {name: size for name, size in self.all_sizes.items() if size > 1}

    @cached_property
    def loop_indices(self) -> tuple[dict[str, int], ...]:
        """Index on each loop, for each frame."""
        rows = product(*map(range, self.grid.counts))
        return tuple(dict(zip(self.grid.names, row, strict=True)) for row in rows)


def max_frames(file_size: int) -> int:
    """Return how many frames the loops of a file may reach: far more than fit into it.

    Acquisitions that end early have longer loops than frames. A file that claims more is damaged:
    labels of all its frames would take more memory than the file is worth.
    """
    return (1 << 15) + file_size // 16


def max_channels(nbytes: int) -> int:
    """Return the maximum plausible number of channels in some bytes: one per page of 4096 bytes, and 256 more."""
    return 256 + nbytes // 4096


def check_claims(layout: Layout, file_size: int, path: str, *, compressed: bool) -> None:
    """Refuse axes that are too long for the file, before anything of their length is allocated.

    The limits: frames as `max_frames`; pixels of a frame as fit into the file at the highest
    compression, and a megapixel more; pixels of an axis half as many as the file has bytes, and a
    megapixel more; channels as `max_channels`.
    """
    limit = max_frames(file_size)
    if layout.frame_count > limit:
        raise errors.corrupt(
            f"the loops {dict(layout.loops)} reach {layout.frame_count} frames, but at most "
            f"{limit} are plausible in {file_size} bytes; rescue=True opens the file",
            path=path,
        )
    samples = layout.height * layout.width * layout.channels * layout.samples
    ratio = MAX_RATIO if compressed else 1
    channels = layout.channels > max_channels(file_size)
    sides = max(layout.height, layout.width) > (1 << 20) + file_size // 2
    if samples > (1 << 20) + ratio * file_size or sides or channels:
        raise errors.corrupt(
            f"frames of {layout.channels} channels of {layout.width} x {layout.height} pixels do "
            f"not fit into a file of {file_size} bytes",
            path=path,
        )


def split_components(attributes: Attributes) -> tuple[int, int]:
    """Return the number of channels and of samples per channel.

    Three components in a channel are color samples; any other number counts as channels.
    """
    channels = attributes.channelCount or 1
    if attributes.componentCount == 3 * channels:
        return channels, 3
    return attributes.componentCount, 1
