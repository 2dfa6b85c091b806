"""Files of rows as tables of named columns: CSV, Parquet, Arrow IPC, .npy and TFRecord."""
