"""What every simulated provider needs, whoever it imitates: mail as it was meant, chance, state, faults, tokens, control.

Like the simulators it knows nothing of the product that talks to them.
"""
