"""The messages of TensorFlow Serving that this package speaks, under a package name of its own."""
