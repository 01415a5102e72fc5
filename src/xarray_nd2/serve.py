"""A small, read-only HTTP endpoint: one ND2 file as OME-Zarr 0.5, whose tiles are computed on request.

Tiles are not compressed, so that every Zarr reader and viewer reads them. Files that no reference can describe are
served as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xarray_nd2.serving.server import Endpoint, check_address
from xarray_nd2.serving.site import FileSite

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Endpoint", "serve"]


def serve(
    path: Any,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    storage_options: Mapping[str, Any] | None = None,
    allow_origin: str | None = None,
    verbose: bool = False,
) -> Endpoint:
    """Serve a file as OME-Zarr 0.5 over HTTP, from a thread of its own.

    In a browser, the address shows what is in the file: thumbnails, axes, channels, and how programs open it.

    Parameters
    ----------
    path : str, os.PathLike, BinaryIO
        Local path, URL that fsspec supports, or open binary file.
    host : str
        Address to listen on. By default only programs on this machine can connect. There is no
        password: anyone who can reach another address can read the file.
    port : int
        Port to listen on; 0 for any free one.
    storage_options : Mapping, optional
        Options for the file system of a URL.
    allow_origin : str, optional
        Website whose scripts may read the file in the user's browser (``https://viewer.example``), or
        ``*`` for all. Pages from this machine can always read it.
    verbose : bool
        Whether to print a line for each request on standard error.

    Returns
    -------
    Endpoint
        With the attribute ``url``.

    Raises
    ------
    OSError
        If the file cannot be opened or is not ND2, or the port is taken.
    ValueError
        If the file is damaged, or has an axis that OME-Zarr does not have; if ``host`` is empty, or
        there is no such port.

    Examples
    --------
    >>> with serve("a.nd2") as endpoint:  # doctest: +SKIP
    ...     print(endpoint.url)
    ...     endpoint.wait()
    """
    check_address(host, port)
    site = FileSite(path, storage_options)
    try:
        return Endpoint(site, host, port, allow_origin=allow_origin, verbose=verbose)
    except BaseException:
        site.close()
        raise
