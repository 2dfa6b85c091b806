"""What is made to be looked at: the curves of a selection, the report of a version, TensorBoard."""
