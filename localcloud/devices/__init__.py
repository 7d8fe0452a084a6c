"""Devices that speak MQTT: this machine, simulated sensors and recordings.

host.py        this machine's own readings, by psutil
sensor.py      simulated sensors: pure functions of seed, device and time
rows.py        the rows of a CSV file, or the line in which it stops being one
recording.py   those rows as readings
schedule.py    which device says what, and when
connection.py  one device's MQTT connection, on paho-mqtt
journal.py     what the devices saw acknowledged and received, as a file
process.py     all of it in one process: ``python -m localcloud.devices``
"""
