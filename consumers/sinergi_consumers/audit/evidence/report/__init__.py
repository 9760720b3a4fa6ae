"""The report in a bundle of evidence, for people: HTML and PDF of the same contents."""
