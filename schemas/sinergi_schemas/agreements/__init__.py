"""Agreements (perjanjian kerja sama): who shares what with whom, under which keys."""
