"""Detection of a PyPI nd2 that was installed over the public modules of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

NAMES = frozenset(
    {
        "AXIS",
        "BinaryLayer",
        "BinaryLayers",
        "ND2File",
        "ND2Writer",
        "errors",
        "imread",
        "imwrite",
        "index",
        "is_legacy",
        "is_supported_file",
        "jobs",
        "nd2_to_tiff",
        "rescue_file",
        "rescue_nd2",
        "save_index",
        "structures",
        "tiff",
    }
)
"""Public names of the package ``nd2`` of this distribution."""
REPAIR = "pip uninstall -y nd2 && pip install --force-reinstall --no-deps xarray-nd2"


def explain_missing_names(module: ModuleType) -> None:
    """Let the module ``nd2`` of another distribution say how to get the names that it lacks."""
    original = getattr(module, "__getattr__", None)

    def get(name: str) -> Any:
        if original is not None:
            try:
                return original(name)
            except AttributeError:
                if name not in NAMES:
                    raise
        message = f"module {module.__name__!r} has no attribute {name!r}"
        if name in NAMES:
            message += (
                ": another distribution replaced or removed the module of xarray-nd2, "
                f"which has it; repair it by: {REPAIR}"
            )
        raise AttributeError(message)

    vars(module)["__getattr__"] = get
