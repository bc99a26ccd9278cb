"""Models from the Hugging Face Hub: what is wanted, where a copy is, the download, and what a refusal means."""
