"""Broken engines: what the checker is worth. Each has one function of the product replaced by a wrong one.

::

    patching.py   one function replaced, in every module that has it, and whether anybody called it
    registry.py   what a mutant is, and the list of all
    steps.py, messages.py, streams.py, mailboxes.py, folders.py    the mutants, by what they break
    invariants.py what the simulation's checker does not ask, and these mutants need
    scenarios.py  the run without faults, scripted runs, and any seed, each answering what was violated
    traces.py     scripted runs of the engine's machine
    search.py     which scenario and which seed catch a mutant; what was found is in caught.json

A mutant has to pass the run without faults, in which nothing ever goes wrong, and has to be caught by an invariant about
mail elsewhere: a mutant that survives is a hole in the checker or in the scenarios.
"""
