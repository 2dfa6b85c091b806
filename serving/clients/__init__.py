"""The clients: sync and async, over gRPC and over REST, with the same methods. No TensorFlow."""
