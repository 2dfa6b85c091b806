from .input_files import input_files as input_files
from .input_files import open_table as open_table
from .table import Table as Table
