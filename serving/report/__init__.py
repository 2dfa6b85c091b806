"""Reports: the curves of a selection, the pages of versions, and logs for TensorBoard."""
