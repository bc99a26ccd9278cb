"""The report of an examination: JSON for machines, Markdown, and one page of HTML with plots."""
