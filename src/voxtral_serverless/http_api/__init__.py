"""The HTTP API: the door for programs and people outside RunPod's queue."""
