"""Call and interview transcription that you host yourself: who said what when, a summary, the sentiment.

The way of a job is in `pipeline`; what a job and an answer look like is in `contract`.
"""

__version__ = "0.1.0"
