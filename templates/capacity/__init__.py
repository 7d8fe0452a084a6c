"""How many brokers, shards and workers a fleet needs, what quotas it meets and what it costs.

fleet.py     what is asked: devices, rates, sizes, and what is assumed of machines
message.py   bytes of a message in Pub/Sub and of its row in BigQuery, from our own schemas
measured.py  what our pipelines were measured to do, read from bench/RESULTS.md
prices.py    prices and quotas, each with its source and the day it was read
plan.py      the arithmetic: a Fleet to a Plan
tables.py    the same as Markdown, for the capacity page

Pure: no clock, no network, no files. Errors: `CapacityError`, see errors.py.
"""

from templates.capacity.errors import CapacityError, InvalidAssumption, UnreadableResults
from templates.capacity.fleet import Fleet, Machines
from templates.capacity.measured import Measured, measured_from
from templates.capacity.plan import Plan, plan, worker_dollars_per_hour
from templates.capacity.prices import Prices, Quotas

__all__ = [
    "CapacityError",
    "Fleet",
    "InvalidAssumption",
    "Machines",
    "Measured",
    "Plan",
    "Prices",
    "Quotas",
    "UnreadableResults",
    "measured_from",
    "plan",
    "worker_dollars_per_hour",
]
