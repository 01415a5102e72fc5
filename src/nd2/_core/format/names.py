"""Names of the chunks of a modern file, each with its ``!``: one list for those who read them and those who write them.

Names with two forms stand as a pair: that of version 3 (binary metadata), then that of version 2 (XML). As observed in
real files, but for those of binary layers, jobs and the user's form.
"""

from __future__ import annotations

ATTRIBUTES = (b"ImageAttributesLV!", b"ImageAttributes!")
EXPERIMENT = (b"ImageMetadataLV!", b"ImageMetadata!")
PICTURE = (b"ImageMetadataSeqLV|0!", b"ImageMetadataSeq|0!")
TEXT_INFO = (b"ImageTextInfoLV!", b"ImageTextInfo!")
OPENING = (*ATTRIBUTES, *EXPERIMENT, *PICTURE, *TEXT_INFO)
"""What every opening needs."""

EVENTS = (b"ImageEventsLV!", b"ImageEvents!", b"CustomData|ExperimentEventsV1_0!")
FRAME_TIMES = b"CustomData|AcqTimesCache!"
PFS_STATUS = b"CustomData|PFS_STATUS!"
ROIS = b"CustomData|RoiMetadata_v1!"
RASTER_LAYERS = b"CustomData|BinaryMetadata_v2!"
USER_FORM = b"CustomData|CustomDescriptionV1_0!"
JOB = (
    b"CustomData|JobDefinitionV1_0!",
    b"CustomData|JobDefinitionDescV1_0!",
    b"CustomData|JobRunGUIDV1_0!",
)

SETTINGS_PREFIX = b"CustomDataVar|"
"""Beginning of the names of settings in XML; what follows is their tag."""
APP_INFO = SETTINGS_PREFIX + b"AppInfo_V1_0!"
RECORDED = SETTINGS_PREFIX + b"CustomDataV2_0!"
"""The table that describes the columns of recorded data."""
RUN_LAYERS = SETTINGS_PREFIX + b"BinaryMetadata_v1!"
"""The table that describes run-length encoded binary layers."""

SEQUENCE_PREFIX = b"CustomDataSeq|"
"""Beginning of the names of chunks, other than frames, of which there is one for each frame."""


def column(identifier: str) -> bytes:
    """Return the name of the chunk that holds the values of a column of recorded data."""
    return b"CustomData|%s!" % identifier.encode()


def settings(tag: str) -> bytes:
    """Return the name of the chunk that holds the settings of a tag."""
    return b"%s%s!" % (SETTINGS_PREFIX, tag.encode())


def text(name: bytes) -> str:
    """Return a name as callers know it: as text, without its ``!``."""
    return name.removesuffix(b"!").decode("utf-8", "replace")
