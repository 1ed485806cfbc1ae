"""Results -> tables, plots, one self-contained HTML page.

runs.py reads a run folder, jobs.py joins the jobs of one run, groups.py decides which runs are comparable.
statistics.py has the formulas, summary.py computes the numbers of a group (records in numbers.py), notes.py writes the
sentences that explain them. tables.py shows them as text, charts.py and page.py as a page. lambdas.py compares runs
that differ only in SIFT's lambda.
"""
