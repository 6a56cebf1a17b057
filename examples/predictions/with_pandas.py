"""pandas: one model, all columns that any of its versions has."""

import pandas
import pyarrow
import pyarrow.dataset

folder = "modelgate-data/predictions/parquet/predictions"
dataset = pyarrow.dataset.dataset(folder, partitioning="hive")
schemas = [file.physical_schema for file in dataset.get_fragments(pyarrow.dataset.field("model") == "fraud")]
schema = pyarrow.unify_schemas([*schemas, dataset.schema], promote_options="permissive")
rows = dataset.replace_schema(schema).to_table(filter=pyarrow.dataset.field("model") == "fraud")
frame: pandas.DataFrame = rows.to_pandas()
