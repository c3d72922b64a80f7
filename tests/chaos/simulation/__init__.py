"""Deterministic simulation: the whole product, its provider and its services in one process, ruled by one integer.

::

    plan.py       everything that a run does, as data: ``Plan.of(seed)``
    kinds.py      the kinds of faults and how often each strikes
    scheduler.py  virtual time, and calls in flight that hand on at every port call
    ports.py      the ports as an instance sees them: slow, failing, crashing
    instance.py   one instance of the functions, which can die and start again
    host.py       a mail provider as the simulation drives it: gmail.py, outlook.py
    people.py     what users do through the API, and what happens in their mailboxes
    delivery.py   the queue's, the bus's and the scheduler's side: who calls which instance, when, and how often
    world.py      all of it together: one run, from the first action to quiescence
    record.py     what really happened, as the checker needs it
    checker.py    the named invariants
    shrink.py     the smallest plan that still fails
"""
