"""Writers of ND2 files: from arrays, frame by frame, and from other files."""
