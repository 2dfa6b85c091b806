"""The engines of the steps of a fit: one engine per file, with its kernels next to it."""
