"""Every interleaving of two hosts up to stated small bounds, over the real core; `explore` is the entry.

A second, small world beside the random one, made to be exhausted instead of sampled:

- Time moves in ticks of one heartbeat. In a tick each living daemon does one step (what it started has ended, its
  messages come in, its probes look, the real `decide` runs, what it said goes out); which of the two is first is a
  choice of its own in every tick. Then the world moves: clients commit, WAL streams, machines boot, clocks advance.
- Between ticks faults begin (at most `faults` of them on one path) and end (whenever; a fault may last for ever).
- Within a step everything is prompt unless one of `delays` is spent: an action ends a tick later, or its result does,
  or it fails, or it works and is reported as failed, or a fence comes at any time after it was given up; a message is
  lost; a probe's look comes a tick late; a standby receives without flushing. Each of `kept` lets one message be
  delivered at any later time, once more or instead.
- There is no bound on the length of a path unless one is given: the search ends when no state is new. That it ends
  at all rests on the canonical form of states (`known`): times relative to now and standing still beyond the longest
  threshold that reads them, names of boots, daemons and postmasters used again once nobody remembers them, message
  numbers by rank, and commits counted only as far as somebody could lose them (`wal`).

Since a decision is a pure function, equal knowledge and equal inputs are decided once and looked up afterwards.
"""
