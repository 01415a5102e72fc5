"""The dialog with the options that napari's own dialog for opening files does not have."""

# No `from __future__ import annotations`: magicgui makes the fields of the dialog out of the annotations.

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from xarray_nd2.napari.layers import read_layers

if TYPE_CHECKING:
    import napari.types

_CHOICES = [("an axis with a slider", "axis"), ("a set of layers each", "layers")]


def open_file(
    file: Annotated[Path, {"filter": "*.nd2"}] = Path(),
    url: str = "",
    positions: Annotated[Literal["axis", "layers"], {"choices": _CHOICES}] = "axis",
    rescue: bool = False,
) -> "list[napari.types.LayerDataTuple]":
    """Open an ND2 file.

    Parameters
    ----------
    file : Path
        The file.
    url : str
        A URL instead of a file: ``s3://bucket/experiment.nd2``.
    positions : {"axis", "layers"}
        Stage positions as an axis, or as one set of layers for each position, where the stage was.
    rescue : bool
        Open what is left of a file that was cut short.

    Returns
    -------
    list of (data, options, type)
        The layers.
    """
    return read_layers(url.strip() or file, positions=positions, rescue=rescue)
