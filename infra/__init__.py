"""Everything about where Brainstem runs: the list of functions and the machine on which they run."""
