"""`voxtral-serverless qualify`: what this machine, its models and this worker are worth, measured where they run."""
