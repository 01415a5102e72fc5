"""Views of a file's pixels in other libraries; they see a reader and a lazy array, never a file handle."""
