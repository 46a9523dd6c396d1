"""One script per budget of the design; each prints one JSON object. `make bench` runs them all.

CPU time and ratios are judged always, latencies only on a calm machine (load average below 2); what is only reported
says so. A script exits 1 when something that is judged misses its budget.
"""
