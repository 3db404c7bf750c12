"""Fitting the weights of the rankers that learning uses, and measuring what they are worth."""
