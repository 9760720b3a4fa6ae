"""One record of the bus: its revisions, who had them since when, and the proofs."""
