"""A Flink cluster of separate processes on this machine, with Beam's job server before it.

ZooKeeper, a job manager, task managers, and a Python worker pool for each of these: what a cluster
of machines has, so that each can be killed by itself. Everything listens on loopback. The jars come
from Maven once (``python -m localcloud.flink.jars``); ``python -m localcloud.flink`` runs a cluster
until Ctrl-C and says how to submit to it.
"""
