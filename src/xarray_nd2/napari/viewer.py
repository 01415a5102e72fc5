"""Files in a viewer that is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nd2._core import errors
from xarray_nd2.napari.layers import read_layers

if TYPE_CHECKING:
    from typing import Unpack

    from nd2._core.open import OpenOptions
    from xarray_nd2.napari.layers import Positions


def add_layers(viewer: Any, path: Any, *, positions: Positions = "axis", **options: Unpack[OpenOptions]) -> list[Any]:
    """Add the layers of a file to a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    path, positions, **options
        As `read_layers` takes them.

    Returns
    -------
    list of napari.layers.Layer
        The layers that were added.

    Raises
    ------
    ImportError
        If napari is not installed.
    OSError
        If the file cannot be opened, or is not ND2.

    Examples
    --------
    >>> viewer = napari.Viewer()  # doctest: +SKIP
    >>> add_layers(viewer, "s3://bucket/plate.nd2", storage_options={"anon": True})  # doctest: +SKIP
    """
    try:
        from napari.layers import Layer
    except ImportError as error:
        raise errors.missing_package("napari", "napari", "to show layers") from error
    layers = [Layer.create(*layer) for layer in read_layers(path, positions=positions, **options)]
    for layer in layers:
        viewer.add_layer(layer)
    return layers
