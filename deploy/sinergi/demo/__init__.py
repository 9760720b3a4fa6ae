"""`sinergi demo`: three agencies on this machine, from their setup to the last proof.

The demo runs the real product: the agencies publish through the outbox, the relays and
materialisers are the real processes, and the figures at the end are counted in databases and
topics. All persons are made up ("Rekaan" means fiction).
"""
