"""The methods of the simulated Graph, by what they are about."""
