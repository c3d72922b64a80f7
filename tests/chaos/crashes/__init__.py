"""Crash everywhere: small scripted lives, each run once for every call at which it can be cut short.

::

    scenarios.py  the lives: plans of the simulation without chance in their faults
    stage.py      a simulation that notes each call it makes, and plays a life with one crash
    consent.py    a person who connects through the consent pages
    points.py     where a life can be cut short: all of it, a share of it, a sample of it
    campaign.py   many points on several processes
    report.py     the table, and the first failure in words
"""
