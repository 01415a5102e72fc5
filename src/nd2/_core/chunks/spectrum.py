"""Wavelengths of a channel: from the spectra of its probe and its filters."""

from __future__ import annotations

from nd2._core.chunks import fields

# What Nikon's own reader gives for the planes of a colour camera: blue, green, red, in the order of storage.
COLOR_NM = (420.0, 515.0, 590.0)
PEAK = 4


def wavelengths(plane: fields.Tree, index: int) -> tuple[float | None, float | None]:
    """Return the wavelengths of emission and excitation in nanometres; None where they are not known.

    Parameters
    ----------
    plane : mapping
        The plane of the picture metadata.
    index : int
        Its place among the planes: a filter with several peaks, one for each laser, has that of the plane there.
    """
    is_color = fields.integer(plane, "uiCompCount", 1) == 3
    color = COLOR_NM[index] if is_color and index < len(COLOR_NM) else None
    probe = fields.level(plane, "pFluorescentProbe")
    filters = fields.levels(fields.level(plane, "pFilterPath").get("m_pFilter"))
    first = filters[0] if filters else {}
    emission = (
        color
        or _maximum(_points(probe, "m_EmissionSpectrum"))
        or _maximum(_points(first, "m_EmissionSpectrum"))
    )
    excitation = (
        _maximum(_points(probe, "m_ExcitationSpectrum"))
        or _of_plane(_points(first, "m_ExcitationSpectrum"), index)
        or color
    )
    return emission or None, excitation or None


def _points(owner: fields.Tree, key: str) -> list[fields.Tree]:
    return fields.levels(fields.level(owner, key).get("pPoint"))


def _wavelength(point: fields.Tree) -> float:
    return fields.real(point, "dWavelength") or fields.real(point, "uiWavelength")


def _maximum(points: list[fields.Tree]) -> float:
    """Return the wavelength at which the spectrum is highest, the first one of several; 0 for no spectrum."""
    return _wavelength(max(points, key=lambda point: fields.real(point, "dTValue"), default={}))


def _of_plane(points: list[fields.Tree], index: int) -> float:
    """Return the wavelength of the plane's own peak, or the maximum if the spectrum is not one of peaks."""
    if len(points) > 1 and all(fields.integer(point, "eType") == PEAK for point in points):
        return _wavelength(points[index]) if index < len(points) else 0.0
    return _maximum(points)
