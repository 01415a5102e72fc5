"""Imaging modality of a channel: from the bit mask, or the code of older files, to the names of its flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nd2._core.chunks import fields

if TYPE_CHECKING:
    from nd2._core.structures import ModalityFlags

_FLUORESCENCE, _BRIGHTFIELD = 0x1, 0x2

# In the order in which they are listed.
MASKS: dict[ModalityFlags, int] = {
    "fluorescence": _FLUORESCENCE,
    "brightfield": _BRIGHTFIELD,
    "phaseContrast": 0x10,
    "diContrast": 0x20,
    "camera": 0x100,
    "laserScanConfocal": 0x200,
    "spinningDiskConfocal": 0x400,
    "sweptFieldConfocalSlit": 0x800,
    "sweptFieldConfocalPinhole": 0x1000,
    "dsdConfocal": 0x2000,
    "SIM": 0x4000,
    "iSIM": 0x8000,
    "RCM": 0x40,
    "VCS": 0x80,
    "sora": 0x40000000,
    "liveSR": 0x40000,
    "multiphoton": 0x10000,
    "TIRF": 0x20000,
    "pmt": 0x100000,
    "spectral": 0x200000,
    "vaasIF": 0x400000,
    "vaasNF": 0x800000,
    "transmitDetector": 0x1000000,
    "nonDescannedDetector": 0x2000000,
    "virtualFilter": 0x4000000,
    "gaasp": 0x8000000,
    "remainder": 0x10000000,
    "aux": 0x20000000,
}

# What the code of older files stands for.
_CODES: dict[int, tuple[ModalityFlags, ...]] = {
    0: ("fluorescence", "camera"),
    1: ("brightfield", "camera"),
    2: ("fluorescence", "laserScanConfocal"),
    3: ("fluorescence", "spinningDiskConfocal"),
    4: ("fluorescence", "sweptFieldConfocalSlit"),
    5: ("fluorescence", "multiphoton", "laserScanConfocal"),
    6: ("brightfield", "phaseContrast"),
    7: ("brightfield", "diContrast"),
    8: ("fluorescence", "spectral", "laserScanConfocal"),
    9: ("fluorescence", "vaasNF", "laserScanConfocal"),
    10: ("fluorescence", "vaasIF", "laserScanConfocal"),
    11: ("fluorescence", "vaasNF", "laserScanConfocal"),
    12: ("dsdConfocal",),
}


def flags(plane: fields.Tree) -> list[ModalityFlags]:
    """Return the names of the flags that are set.

    A channel that is neither fluorescence nor bright field by its mask is the one or the other by its samples: colour
    is bright field.
    """
    if "uiModalityMask" in plane:
        mask = fields.integer(plane, "uiModalityMask")
    else:
        names = _CODES.get(fields.integer(plane, "eModality"), _CODES[0])
        mask = sum(MASKS[name] for name in names)
    if not mask & (_FLUORESCENCE | _BRIGHTFIELD):
        return ["brightfield" if fields.integer(plane, "uiCompCount", 1) == 3 else "fluorescence"]
    return [name for name, bit in MASKS.items() if mask & bit]
