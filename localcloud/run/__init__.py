"""A whole cloud in one terminal: `mqttbeam run`.

settings.py    what a person asks for, checked
children.py    the processes: started, watched, stopped
watchdog.py    ends them where the runner itself is killed
lifetime.py    one run in a folder, and Ctrl-C
servers.py     the broker, Pub/Sub and BigQuery
jobs.py        the pipelines and the devices
taps.py        what the run sees on its Pub/Sub topics
warehouse.py   what BigQuery says
commander.py   the run's own commands
latency.py     percentiles in little memory
rate.py        how fast a counter grows
figures.py     what a run is judged by
display.py     the live table, or a line now and then
runner.py      all of it in order
"""
