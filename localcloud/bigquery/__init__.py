"""BigQuery on a laptop: bqemulator as a process of its own, and a client for it.

server.py    the process: `python -m localcloud.bigquery --data-dir DIR`
process.py   starts it, waits until it is ready, stops it
client.py    datasets, tables, views and queries over its REST API
"""

from localcloud.bigquery.client import BigQueryError, LocalBigQuery, QueryResult
from localcloud.bigquery.process import BigQueryNotReady, BigQueryProcess

__all__ = ["BigQueryError", "BigQueryNotReady", "BigQueryProcess", "LocalBigQuery", "QueryResult"]
