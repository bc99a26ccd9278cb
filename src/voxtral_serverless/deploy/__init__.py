"""A template and an endpoint on RunPod, made or brought up to date from a short description."""
