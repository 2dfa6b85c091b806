"""Clients: sync and async, over gRPC and REST, with the same methods; without TensorFlow."""
