"""How daemons and operators talk: the peer link and the operator socket."""
