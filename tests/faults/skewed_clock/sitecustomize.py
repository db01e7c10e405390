"""Set the wall clock ahead. Python imports this module at its start.

`time_machine` changes wall clocks only, because a monotonic clock has no correct time.
"""

import datetime
import os

import time_machine

_ahead = datetime.timedelta(seconds=float(os.environ["FAULTS_CLOCK_IS_AHEAD_SECONDS"]))
time_machine.travel(datetime.datetime.now(datetime.UTC) + _ahead, tick=True).start()
