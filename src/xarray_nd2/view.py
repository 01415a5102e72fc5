"""Opens a browser on a file: channels in their colors, axes as sliders, stacks in 3D, binary layers as segmentation."""

from __future__ import annotations

import getpass
import os
import socket
import sys
import webbrowser
from typing import TYPE_CHECKING, Any

from xarray_nd2.serve import serve
from xarray_nd2.serving import viewer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xarray_nd2.serve import Endpoint

__all__ = ["view"]


def view(
    path: Any,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    storage_options: Mapping[str, Any] | None = None,
    browser: bool = True,
    verbose: bool = False,
) -> Endpoint:
    """Show a file in the browser, from a thread of its own, until the endpoint is closed.

    The viewer is neuroglancer (extra ``view``). If it is not installed, the page of the file is shown, as by `serve`.

    Parameters
    ----------
    path : str, os.PathLike, BinaryIO
        Local path, URL that fsspec supports, or open binary file.
    host, port
        As in `serve`.
    storage_options : Mapping, optional
        Options for the file system of a URL.
    browser : bool
        Whether to open a browser. The attribute ``view_url`` is the address to open if False, or if
        there is no browser.
    verbose : bool
        Whether to print a line for each request on standard error.

    Returns
    -------
    Endpoint
        With the attributes ``view_url`` and ``url``.

    Raises
    ------
    OSError, ValueError
        As in `serve`.

    Examples
    --------
    >>> with view("a.nd2") as endpoint:  # doctest: +SKIP
    ...     endpoint.wait()
    """
    endpoint = serve(path, host, port, storage_options=storage_options, verbose=verbose)
    if browser:
        open_browser(endpoint.view_url)
    return endpoint


def open_browser(url: str) -> bool:
    """Open a graphical browser, and return whether there is one.

    A text browser, which the standard library may find, shows no images and occupies the terminal.
    """
    graphical = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    )
    try:
        return graphical and webbrowser.open(url)
    except webbrowser.Error:
        return False


def tunnel(endpoint: Endpoint) -> str:
    """Return the command that forwards an endpoint to another computer through SSH."""
    # Addresses of client and server with their ports, as the client reached it.
    connection = os.environ.get("SSH_CONNECTION", "").split()
    server, port = connection[2:4] if len(connection) == 4 else (socket.gethostname(), "22")
    other = "" if port == "22" else f"-p {port} "
    address = endpoint.url.removeprefix("http://")
    return f"ssh -N {other}-L {endpoint.port}:{address} {getpass.getuser()}@{server}"


def advice(endpoint: Endpoint, *, opened: bool) -> list[str]:
    """Return lines for a person whose browser could not be opened, or who has no viewer."""
    lines = []
    if not viewer.is_installed():
        lines.append("This is the page of the file. The viewer needs neuroglancer: pip install 'xarray-nd2[view]'")
    if not opened:
        lines += [
            "No browser was opened. On this computer, open the address above. "
            "On another one, run this, and open the same address there:",
            f"  {tunnel(endpoint)}",
        ]
    return lines
