"""Changes a Delta table as another program would.

    append PATH ROWS      rows, as a JSON array of objects
    column PATH ROWS      the same, with columns that the table does not have yet
    compact PATH          the same rows in fewer files
    delete PATH WHERE     the rows for which that holds
    checkpoint PATH       sums up the log
    set PATH PROPERTIES   properties of the table, as a JSON object
"""

import json
import os
import sys

import pyarrow
from deltalake import DeltaTable, write_deltalake

command, path, *rest = sys.argv[1:]
if command in ("append", "column"):
    mode = "merge" if command == "column" else None
    write_deltalake(path, pyarrow.Table.from_pylist(json.loads(rest[0])), mode="append", schema_mode=mode)
elif command == "compact":
    DeltaTable(path).optimize.compact()
elif command == "delete":
    DeltaTable(path).delete(rest[0])
elif command == "checkpoint":
    DeltaTable(path).create_checkpoint()
elif command == "set":
    DeltaTable(path).alter.set_table_properties(json.loads(rest[0]))
# The threads of the writer do not always survive an interpreter that is taken down around them.
os._exit(0)
