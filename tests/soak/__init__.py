"""``make soak``: many mailboxes for hours of virtual time, with everything going wrong that can."""
