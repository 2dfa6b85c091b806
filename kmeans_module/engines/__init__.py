"""What takes the steps of a fit: one engine a file, with its kernels beside it."""
