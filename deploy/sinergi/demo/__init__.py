"""`sinergi demo`: three agencies on this machine, from founding to the last proof.

Nothing here is a model of the product: the agencies publish through the outbox, the relays and
materialisers are the real processes, and the figures at the end are counted in what they left.
Everybody in the stories is made up ("Rekaan" is fiction).
"""
