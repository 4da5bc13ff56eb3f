"""The audit log: append-only, chained by hashes, its end and checkpoints signed.

``chain``        what an entry's hash is made of
``signing``      signatures, by a key that comes from the installation's master key
``log``          appends
``verifying``    looks at a whole log for what somebody has done to it
``exported``     the log as lines of JSON, to be verified elsewhere
``service``      all of that for the gateway

Who can write to the database can still do whatever it likes to its rows. It cannot do so unnoticed: a change,
a removal or a move breaks the chain of hashes, and a chain that was computed anew does not fit to the
signatures. What it can do is to bring the whole log back to what it was at an earlier moment, signatures
included; that shows against anything that was kept elsewhere: the end that a verification has answered, or an
export.
"""
