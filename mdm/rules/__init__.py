"""Rules: what is done by itself with updates that criteria match, when, and the record of each run."""
