"""The commands of `voxtral-serverless`, a module for each; `cli` gathers them."""
