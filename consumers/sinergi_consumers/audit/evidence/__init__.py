"""Evidence bundles: one file that holds events with their proofs, and its verifier.

docs/spec/bundle.md describes the format byte by byte. Nothing here needs a broker, a database or a
network: of other libraries, the verifier needs only `cryptography`, and pydantic to read keys from
an agreement.
"""
