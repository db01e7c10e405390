"""Python imports this at its start: a machine whose clock is off.

Only wall clocks: a monotonic clock is never off, so `time_machine` is told to leave it.
"""

import datetime
import os

import time_machine

_ahead = datetime.timedelta(seconds=float(os.environ["FAULTS_CLOCK_IS_AHEAD_SECONDS"]))
time_machine.travel(datetime.datetime.now(datetime.UTC) + _ahead, tick=True).start()
