#!/bin/sh
# The first cases of the campaign of ranks that are lost, slow or full. None may hang; `make campaign` runs a thousand.
exec tests/campaign/rank_faults.sh 25 1 4
