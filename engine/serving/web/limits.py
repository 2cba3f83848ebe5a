"""What a request may ask for, and how many there may be at a time: what bounds the memory of serving."""

from __future__ import annotations

from engine.chunked.budget import KIB, MIB

# In the body of a request. Nothing of it is decoded before a thread turns to it.
MOST_BYTES = 256 * KIB
# Of a body that is too large, read so that whoever sends it hears why it is refused.
MOST_PASSED_OVER = 16 * MIB
# Seconds until a request has come, or its body; until an answer is made and taken.
SECONDS_FOR_REQUEST = 10.0
SECONDS_FOR_ANSWER = 60.0
# Characters of an error: it may name what was asked for.
MOST_TOLD = 500
# Users, or items to like, to rate or to predict.
MOST_ASKED = 1000
# Items of a list, and of all the lists of an answer.
MOST_ITEMS = 1000
MOST_ROWS = 2500
# Connections, most of them idle.
MOST_CONNECTIONS = 256

# Requests that may wait for each that is answered; more are told to come again.
_WAITING = 16
# An answer of MOST_ROWS while it is made: rows of neighbours, a list of it as Python's objects.
_MAKING = 8 * MIB
# And of each item: its votes and scores, its title in lower case, whether it may be recommended.
_OF_ITEM = 64
# An answer as JSON until it is sent, or a body until it is decoded.
_KEEPING = 768 * KIB


def most_requests(threads: int) -> int:
    """Requests at a time, from when they are read until their answer is sent."""
    return threads * (1 + _WAITING)


def working_bytes(threads: int, n_items: int) -> int:
    """What requests take at most, beside what they are answered from."""
    return threads * (_MAKING + _OF_ITEM * n_items) + most_requests(threads) * _KEEPING
