"""The axes of a file.

Frames are numbered in the order of the loops, the outermost slowest. A frame holds all channels,
so the axes are the loops (``T`` time, ``P`` position, ``Z`` stack, ``U`` custom), then ``C Y X``,
and ``S`` for color.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from nd2._core import errors
from nd2._core.format.inflate import MAX_RATIO
from nd2._core.frames.grid import FrameGrid
from nd2._core.structures import LOOP_AXES
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nd2._core.structures import Attributes, ExpLoop


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

    Attributes
    ----------
    loops : tuple of (str, int)
        Name and count of each loop that makes an axis, outermost first, including those of one
        item. Where loops of one kind are nested, the inner ones are numbered: ``T``, ``T2``.
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
        names = [name for name, _ in self.loops]
        for letter in "TPZ":
            if letter not in names:
                later = [i for i, name in enumerate(names) if "TPZ".find(name[0]) > "TPZ".find(letter)]
                names.insert(later[0] if later else len(names), letter)
        counts = dict(self.loops)
        return replace(self, loops=tuple((name, counts.get(name, 1)) for name in names))

    @cached_property
    def grid(self) -> FrameGrid:
        """The frames on the axes of the loops."""
        return FrameGrid.from_counts(self.loops)

    @property
    def frame_count(self) -> int:
        """Number of frames that the loops make: the product of their counts, 1 without loops."""
        return self.grid.size

    @property
    def loop_shape(self) -> tuple[int, ...]:
        """Count of each loop, outermost first."""
        return self.grid.counts

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
        names = self.grid.names
        columns = [column.tolist() for column in self.grid.all_indices().values()]
        rows = zip(*columns, strict=True) if columns else [()] * self.frame_count
        return tuple(dict(zip(names, row, strict=True)) for row in rows)


def warn_about_unreached_frames(layout: Layout, chunk_count: int, path: str) -> None:
    """Warn if a file holds frames that its loops do not reach: no axis of its arrays shows them.

    ``chunk_count`` is the number of frames up to the last one that is stored.
    """
    if chunk_count > layout.frame_count:
        warnings.warn(
            f"file {path!r} holds {chunk_count} numbered frames, but its loops {dict(layout.loops)} "
            f"reach {layout.frame_count}; read_frame() reads the others, and "
            "flat_frames=True puts all of them on one axis",
            stacklevel=3,
        )


def max_frames(file_size: int) -> int:
    """Return how many frames the loops of a file may reach: far more than fit into it.

    Acquisitions that end early have longer loops than frames. A file that claims more is damaged:
    labels of all its frames would take more memory than the file is worth.
    """
    return (1 << 15) + file_size // 16


def check_claims(layout: Layout, file_size: int, path: str, *, compressed: bool) -> None:
    """Refuse axes that are too long for the file, before anything of their length is allocated.

    The limits: frames as `max_frames`; pixels of a frame as fit into the file at the highest
    compression, and a megapixel more; pixels of an axis half as many as the file has bytes, and a
    megapixel more; channels as the file has pages, and 256 more.
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
    channels = layout.channels > 256 + file_size // 4096
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
