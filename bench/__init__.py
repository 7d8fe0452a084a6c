"""What users would run instead, measured beside this: ``python -m bench --help``.

A measurement starts a broker and a local Pub/Sub of its own on loopback, runs one peer between
them, counts message by message what arrived, and stops everything. Peers take turns, so that a
ratio always compares neighbours in time on the same machine.

    devices (load.py) --MQTT--> broker --> peer --> Pub/Sub --> arrivals.py
    arrivals.py <--MQTT-- broker <-- peer <-- Pub/Sub <-- commands (load.py)
"""
