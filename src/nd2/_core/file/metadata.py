"""What ``ND2File`` says of its file: every property and method that gives metadata, and reads no pixel."""

from __future__ import annotations

import operator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from nd2._core.file.handle import FileHandle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.job_types import JobsDict
    from nd2._core.readers.rescued import RescueReport
    from nd2._core.structures import (
        ROI,
        Attributes,
        CustomField,
        ExpLoop,
        FrameMetadata,
        Metadata,
        TextInfo,
        VoxelSize,
    )
    from nd2._core.views.binary import BinaryLayers


class FileMetadata(FileHandle):
    """The metadata of a file, decoded when they are asked for."""

    @property
    def version(self) -> tuple[int, ...]:
        """Format version: ``(3, 0)``, ``(2, 0)``, ``(2, 1)``, or ``(1, 0)`` for legacy files."""
        return self._reader.version

    @property
    def is_legacy(self) -> bool:
        """Whether the file is a legacy (JPEG 2000) file."""
        return self.version[0] == 1

    @property
    def attributes(self) -> Attributes:
        """Pixel geometry and number of frames."""
        return self._reader.attributes

    @property
    def experiment(self) -> list[ExpLoop]:
        """The loops of the acquisition, outermost first; empty where there are none."""
        return self._reader.experiment

    @property
    def metadata(self) -> Metadata | dict[str, Any]:
        """Channels, optics and calibration (a dict for legacy files)."""
        return self._reader.metadata

    @property
    def text_info(self) -> TextInfo:
        """Free text that the microscope's software wrote; items that are empty are left out."""
        return self._reader.text_info

    @property
    def rescued(self) -> RescueReport | None:
        """What was found and what is lost, of a file that was opened with ``rescue=True``; else None."""
        report: RescueReport | None = getattr(self._reader, "rescued", None)
        return report

    def voxel_size(self, channel: int = 0) -> VoxelSize:
        """Return the size of a voxel.

        Parameters
        ----------
        channel : int
            Has no effect: all channels of a file share their calibration.

        Returns
        -------
        VoxelSize
            ``(x, y, z)`` in micrometers; 1.0 where the file has no calibration.
        """
        return self._reader.voxel_size

    def frame_metadata(self, seq_index: int | tuple[int, ...]) -> FrameMetadata | dict[str, Any]:
        """Return the metadata of one frame.

        Parameters
        ----------
        seq_index : int or tuple of int
            Sequence index of the frame, or its index on each loop of ``experiment``.

        Returns
        -------
        FrameMetadata
            The file's metadata, with the time that was recorded for the frame, the position of the stage with the z of
            the frame's own plane, the offset and the status of the focus system (None where they were not recorded).
            A dict for legacy files.

        Raises
        ------
        IndexError
            If there is no such frame.
        """
        if isinstance(seq_index, tuple):
            seq_index = self._reader.layout.grid.frame(seq_index)
        return self._reader.frame_metadata(operator.index(seq_index))

    @overload
    def events(
        self, *, orient: Literal["records"] = ..., null_value: Any = ...
    ) -> list[dict[str, Any]]: ...

    @overload
    def events(
        self, *, orient: Literal["list"], null_value: Any = ...
    ) -> dict[str, list[Any] | NDArray[Any]]: ...

    @overload
    def events(
        self, *, orient: Literal["dict"], null_value: Any = ...
    ) -> dict[str, dict[int, Any]]: ...

    def events(
        self,
        *,
        orient: Literal["records", "list", "dict"] = "records",
        null_value: Any = float("nan"),
    ) -> list[dict[str, Any]] | dict[str, Any]:
        """Return the table of what was recorded: one row for each frame, and one for each event of the experiment.

        Parameters
        ----------
        orient : {"records", "list", "dict"}
            ``records``: a list of rows, each a dict of the cells that it has. ``list``: a dict of columns. ``dict``: a
            dict of columns, each a dict from row number to value. ``pandas.DataFrame`` takes all three.
        null_value : object
            What stands in missing cells of ``list`` and ``dict``.

        Returns
        -------
        list or dict
            Columns are named as the software shows them, with their unit: ``Time [s]``, ``Index``, the index on each
            loop, ``Position Name``, ``Z-Series`` (micrometers from the home plane), what the devices recorded, and
            ``Events``. Frames are in the order of the file, events among them by their time. Columns of numbers
            without missing cells are arrays in ``list``.
        """
        from nd2._core.views.events import events

        return events(self._reader, orient, null_value)

    @property
    def rois(self) -> dict[int, ROI]:
        """Regions of interest by their identifier; empty where there are none.

        Coordinates are as they are stored: normalised, with the image's centre at (0, 0) (unverified on real files).
        """
        return self._reader.rois

    @cached_property
    def binary_data(self) -> BinaryLayers | None:
        """Binary layers of the file, a sequence of `BinaryLayer`; None if there are none.

        Masks are read when they are asked for: ``file.binary_data[0][12]`` reads one.
        """
        from nd2._core.views.binary import binary_layers

        return binary_layers(self._reader)

    def jobs(self) -> JobsDict | None:
        """Return what the file says of the job that acquired it.

        Returns
        -------
        dict or None
            ``Job``, the definition, or ``ProtectedJob``, the same encrypted (the other one is None), ``JobRunGUID``,
            ``ProgramDesc``; see `nd2._core.job_types`. None if no job acquired the file.
        """
        return cast("JobsDict | None", self._reader.jobs)

    @property
    def custom_metadata(self) -> list[CustomField]:
        """Fields of the form that the user filled in at acquisition, in the order of the form, repeated names too."""
        return self._reader.custom_metadata

    @property
    def custom_data(self) -> dict[str, Any]:
        """Settings that the software keeps beside the image (cameras, look-up tables, viewer ...), by their tag."""
        return self._reader.custom_data

    def unstructured_metadata(
        self,
        *,
        strip_prefix: bool = True,
        include: set[str] | None = None,
        exclude: set[str] | None = None,
    ) -> dict[str, Any]:
        """Return the decoded content of the metadata chunks, whatever it is.

        Parameters
        ----------
        strip_prefix : bool
            Whether the prefix that gives the type is removed from names: ``uiModeFQ`` becomes ``ModeFQ``.
        include : set of str, optional
            Names of the only chunks to take, such as ``{"ImageMetadataLV"}``; custom chunks too, which are left out by
            default (``{"CustomData|GUIDStore"}``). A name that the file does not have gives a warning.
        exclude : set of str, optional
            Names of chunks to leave out.

        Returns
        -------
        dict
            Name of the chunk -> nested dict; bytes where a chunk cannot be decoded. Empty for legacy files.
        """
        return self._reader.unstructured_metadata(
            strip_prefix=strip_prefix, include=include, exclude=exclude
        )
