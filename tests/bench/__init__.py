"""``make bench``: what a mail costs, counted exactly where it can be counted and timed where it cannot."""
