"""HTML pages that stand alone: one file each, without scripts, for a screen and for paper."""
