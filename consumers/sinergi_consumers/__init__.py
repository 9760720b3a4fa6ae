"""How events become rows in an agency's own database, and how they are replayed and proved."""
