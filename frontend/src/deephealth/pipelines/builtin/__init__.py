"""The documents that come with the toolkit: the demo and predict."""
