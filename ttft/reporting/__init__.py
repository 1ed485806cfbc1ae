"""Results -> tables, plots, one self-contained HTML page.

runs.py reads a run folder, jobs.py joins the jobs of one run, groups.py says which runs are comparable. statistics.py
holds the formulas, summary.py computes the numbers of a group (numbers.py: their records), notes.py the sentences that
explain them. tables.py shows them as text, charts.py and page.py as a page. lambdas.py compares runs that differ in
SIFT's lambda only.
"""
