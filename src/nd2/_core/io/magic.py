"""The first bytes of ND2 files."""

MAGIC = 0x0ABECEDA
MAGIC_BYTES = MAGIC.to_bytes(4, "little")
"""First bytes of every chunk of a modern file, the signature at its start included."""
LEGACY_MAGIC_BYTES = b"\x00\x00\x00\x0c"
"""First bytes of a legacy file: the length of a JPEG 2000 signature box."""


def is_magic(head: bytes) -> bool:
    """Return whether bytes start as an ND2 file does."""
    return head[:4] in (MAGIC_BYTES, LEGACY_MAGIC_BYTES)
