"""Results -> tables, plots, one self-contained HTML page.

runs.py reads run folders, statistics.py holds the formulas, summary.py puts the numbers of a group of comparable runs
together, tables.py shows them as text, charts.py and page.py as a page.
"""
