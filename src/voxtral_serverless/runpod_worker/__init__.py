"""The door to RunPod: its SDK takes jobs from the queue, our pipeline does them, and nothing is lost."""
