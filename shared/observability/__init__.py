"""What a running Brainstem says about itself: structured logs that hold no secrets."""
