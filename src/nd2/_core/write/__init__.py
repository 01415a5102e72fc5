"""Writing ND2 files: a stream of chunks, the trees of metadata around it, and arrays with labels in front of it."""
