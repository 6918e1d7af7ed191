"""Who is compared with whom: one file for each type of protocol, so that a new one concerns no dataset that there is."""
